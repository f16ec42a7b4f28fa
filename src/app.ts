/**
 * The composition root: wires every room once. Read it first; ARCHITECTURE.md tells the flow.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import type { ConfigReading } from './config/index.js'
import {
  describeUpstream,
  type GatewayStatus,
  type Load,
  serveControl,
  type ToolListing,
} from './control/index.js'
import { createGuard, createHttpFace, createStdioFace } from './downstream/index.js'
import { holdProcess } from './hold.js'
import { nodeHost } from './host/index.js'
import { GatewayError, type Snapshot } from './model/index.js'
import { type Log, StderrTails, TransitionLog } from './observe/index.js'
import { Runtime } from './runtime/gateway.js'
import type { Host } from './runtime/ports.js'
import type { Supervisor } from './runtime/supervisor.js'
import { createRequestHandler, type Listener, openListener } from './server.js'
import { createConnectorFactory } from './upstream/index.js'
import { VERSION } from './version.js'

export interface AppOptions {
  readonly reading: ConfigReading
  readonly configPath: string | null
  readonly log: Log
  readonly host?: Host
}

export interface Address {
  readonly host?: string
  readonly port?: number
}

export interface App {
  readonly runtime: Runtime
  readonly handler: (req: IncomingMessage, res: ServerResponse) => void
  /**
   * Opens the socket, then starts the upstreams.
   * @param address overrides `holdfast.listen`
   */
  listen(address?: Address): Promise<Listener>
  /** Starts the upstreams. Idempotent. */
  boot(): void
  serveStdio(input: Readable, output: Writable): Promise<void>
  status(): GatewayStatus
  tools(): Promise<ToolListing>
  onCommit(listener: (snapshot: Snapshot) => void): () => void
  /** Drains, stops every upstream, closes every stream. Idempotent; a second call waits for the first. */
  close(): Promise<void>
  /** Ends everything at once; for a second signal. */
  kill(): void
}

/** Of the shutdown time, what is kept for ending children and sockets after the calls. */
const LADDER_MS = 6_000

export function createApp(options: AppOptions): App {
  const { reading, log } = options
  const host = options.host ?? nodeHost()
  const tails = new StderrTails()
  const transitions = new TransitionLog(log)
  const runtime = new Runtime({
    host,
    connectors: createConnectorFactory(host, { name: 'holdfast', version: VERSION }),
    upstreams: reading.upstreams,
    info: { name: 'holdfast', title: 'Holdfast', version: VERSION },
    events: {
      stderr: (upstream, line) => tails.add(upstream, line),
      warning: (upstream, message) => log({ level: 'warn', upstream, message }),
    },
  })
  watchTransitions(runtime, host, transitions)

  const { settings } = reading
  const guard = createGuard(settings)
  const face = createHttpFace(runtime, host)
  const startedAt = host.clock.wallTime()
  let listener: Listener | null = null
  let closing: Promise<void> | null = null

  const status = (): GatewayStatus => ({
    gateway: {
      version: VERSION,
      pid: process.pid,
      startedAt: new Date(startedAt).toISOString(),
      url: listener && `${listener.url}/mcp`,
      draining: runtime.draining,
      config: {
        path: options.configPath,
        loadedAt: new Date(startedAt).toISOString(),
        warnings: reading.faults.map(fault => `${fault.key}: ${fault.message}`),
      },
    },
    upstreams: describeAll(runtime, host),
  })
  const handler = createRequestHandler({
    guard,
    mcp: (req, res, scope) => face.handle(req, res, scope),
    knowsServer: name => runtime.knowsServer(name),
    control: (req, res, path) =>
      serveControl(
        {
          status,
          logs: name => (runtime.knowsServer(name) ? tails.lines(name) : null),
          tools: () => listTools(runtime),
          draining: runtime.draining,
        },
        req,
        res,
        path,
      ),
  })

  const shutDown = async () => {
    const closed = listener?.close()
    await runtime.drained(Math.max(0, settings.shutdownTimeoutMs - LADDER_MS))
    face.close()
    await runtime.stop()
    listener?.destroy()
    await closed
  }

  return {
    runtime,
    handler,
    status,
    tools: () => listTools(runtime),
    boot: () => runtime.boot(),
    listen: async address => {
      const { host: hostName = settings.listen.host, port = settings.listen.port } = address ?? {}
      refuseOpenListener(hostName, reading)
      listener = await openListener(handler, { host: hostName, port })
      runtime.boot()
      return listener
    },
    serveStdio: async (input, output) => {
      const stdio = createStdioFace(runtime, host, { input, output })
      await stdio.closed
    },
    onCommit: handle => runtime.store.onCommit(handle),
    close: () => {
      closing ??= holdProcess(shutDown())
      return closing
    },
    kill: () => {
      runtime.kill()
      listener?.destroy()
    },
  }
}

/** Without inbound authentication, an address that others can reach is never opened. */
function refuseOpenListener(host: string, reading: ConfigReading): void {
  if (reading.settings.auth.mode !== 'none' || isLoopback(host)) return
  throw new GatewayError(
    'MISCONFIGURED',
    `Refusing to listen on ${host}: anyone who can reach it could use every server. Listen on 127.0.0.1, and put an authenticating proxy in front for access from elsewhere.`,
  )
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** Transitions are logged as they come; the merged lists are looked at once things have settled. */
function watchTransitions(runtime: Runtime, host: Host, transitions: TransitionLog): void {
  let pending = false
  transitions.observe(runtime.snapshot)
  runtime.store.onCommit(snapshot => {
    transitions.observe(snapshot)
    if (pending) return
    pending = true
    host.clock.after(1_000, () => {
      pending = false
      transitions.shadowed(runtime.snapshot.catalog.shadowed)
    })
  })
}

function describeAll(runtime: Runtime, host: Host): GatewayStatus['upstreams'] {
  const { upstreams, catalog } = runtime.snapshot
  return [...upstreams.values()].map(view =>
    describeUpstream(view, catalog, loadOf(runtime.supervisors.get(view.name)), host.clock.wallTime()),
  )
}

function loadOf(supervisor: Supervisor | undefined): Load {
  if (!supervisor) return { inFlight: 0, queued: 0, lastOkAt: null }
  return { inFlight: supervisor.inFlight, queued: supervisor.admission.queued, lastOkAt: supervisor.lastOkAt }
}

async function listTools(runtime: Runtime): Promise<ToolListing> {
  const scope = { kind: 'all' } as const
  const page = await runtime.list('tools', scope, null)
  const { listed } = runtime.snapshot.catalog
  return {
    servers: [...runtime.snapshot.upstreams.keys()],
    tools: listed.tools.map(entry => ({ server: entry.upstream, tool: runtime.render(entry) })),
    unavailable: page.unavailable,
  }
}
