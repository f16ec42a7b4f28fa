/**
 * The composition root: wires every room once. Read it first; ARCHITECTURE.md tells the flow.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import type { ConfigReading } from './config/index.js'
import {
  Control,
  describeUpstream,
  type GatewayStatus,
  type Load,
  type ToolListing,
  TransitionFeed,
  type UpstreamStatus,
} from './control/index.js'
import { createGuard, createHttpFace, createStdioFace } from './downstream/index.js'
import { holdProcess } from './hold.js'
import { nodeHost, removeControlFile, stateFolder, writeControlFile } from './host/index.js'
import { GatewayError, type MergedCatalog, type Snapshot, type UpstreamView } from './model/index.js'
import { type Log, StartProgress, StderrTails, TransitionLog } from './observe/index.js'
import { Runtime } from './runtime/gateway.js'
import type { Clock, Host, UpstreamActions } from './runtime/ports.js'
import type { Supervisor } from './runtime/supervisor.js'
import type { TestReport } from './runtime/test-report.js'
import { Tester, type TestOptions } from './runtime/tester.js'
import { createRequestHandler, type Listener, openListener } from './server.js'
import { createConnectorFactory } from './upstream/index.js'
import { VERSION } from './version.js'

export interface AppOptions {
  readonly reading: ConfigReading
  readonly configPath: string | null
  readonly log: Log
  readonly host?: Host
  /** Where the control file goes while the gateway listens. Default: see `stateFolder`. */
  readonly stateFolder?: string
}

export interface Address {
  readonly host?: string
  readonly port?: number
}

export interface App {
  readonly runtime: Runtime
  readonly clock: Clock
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
  /** Null for a name that is not configured. */
  upstream(name: string): UpstreamStatus | null
  /** Null for a name that is not configured, and for an entry that cannot work as it is written. */
  actions(name: string): UpstreamActions | null
  test(name: string, options: TestOptions): Promise<TestReport>
  readonly transitions: TransitionFeed
  tools(): Promise<ToolListing>
  onCommit(listener: (snapshot: Snapshot) => void): () => void
  /** Drains, stops every upstream, closes every stream. Idempotent; a second call waits for the first. */
  close(): Promise<void>
  /** Ends everything at once; for a second signal. */
  kill(): void
}

const TOKEN_BYTES = 32
/** States that a server leaves at once when a test says that it works. */
const IS_DOWN: ReadonlySet<string> = new Set(['backoff', 'quarantined', 'misconfigured', 'auth_required'])

/** Of the shutdown time, what is kept for ending children and sockets after the calls. */
const LADDER_MS = 6_000

export function createApp(options: AppOptions): App {
  const { reading, log } = options
  const host = options.host ?? nodeHost()
  const tails = new StderrTails()
  const connectors = createConnectorFactory(host, { name: 'holdfast', version: VERSION })
  const runtime = new Runtime({
    host,
    connectors,
    upstreams: reading.upstreams,
    info: { name: 'holdfast', title: 'Holdfast', version: VERSION },
    events: {
      stderr: (upstream, line) => tails.add(upstream, line),
      warning: (upstream, message) => log({ level: 'warn', upstream, message }),
    },
  })
  watchTransitions(runtime, host, new TransitionLog(log))
  const progress = new StartProgress(log, host.clock, tails)
  runtime.store.onCommit(snapshot => progress.observe(snapshot))
  const transitions = feedTransitions(runtime, host)
  const actions = (name: string) => runtime.supervisors.get(name) ?? null
  const tester = new Tester({
    connectors,
    clock: host.clock,
    find: name => reading.upstreams.find(upstream => upstream.name === name),
    succeeded: name => {
      const supervisor = runtime.supervisors.get(name)
      if (supervisor && !runtime.draining) bringBack(supervisor)
    },
  })

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
  const upstream = (name: string) => {
    const view = runtime.snapshot.upstreams.get(name)
    return view ? describe(runtime, host, view, runtime.snapshot.catalog) : null
  }
  const token = host.random.token(TOKEN_BYTES)
  const control = new Control({
    token,
    clock: host.clock,
    transitions,
    status,
    upstream,
    actions,
    test: (name, wishes) => tester.test(name, wishes),
    logs: name => (runtime.knowsServer(name) ? tails.lines(name) : null),
    followLogs: (name, tell) => tails.follow(name, tell),
    tools: () => listTools(runtime),
    get draining() {
      return runtime.draining
    },
  })
  const handler = createRequestHandler({
    guard,
    mcp: (req, res, scope) => face.handle(req, res, scope),
    knowsServer: name => runtime.knowsServer(name),
    control: (req, res, path) => control.handle(req, res, path),
  })
  let withdraw = (): void => undefined

  const shutDown = async () => {
    withdraw()
    const closed = listener?.close()
    await runtime.drained(Math.max(0, settings.shutdownTimeoutMs - LADDER_MS))
    face.close()
    await Promise.all([tester.stop(), runtime.stop()])
    progress.stop()
    control.close()
    listener?.destroy()
    await closed
  }

  return {
    runtime,
    clock: host.clock,
    handler,
    status,
    upstream,
    actions,
    test: (name, wishes) => tester.test(name, wishes),
    transitions,
    tools: () => listTools(runtime),
    boot: () => runtime.boot(),
    listen: async address => {
      const { host: hostName = settings.listen.host, port = settings.listen.port } = address ?? {}
      refuseOpenListener(hostName, reading)
      listener = await openListener(handler, { host: hostName, port })
      withdraw = publishToken(listener, token, options)
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
      withdraw()
      tester.kill()
      runtime.kill()
      listener?.destroy()
    },
  }
}

/** A test reached it, so whatever the gateway waits for before it tries again need not be waited for. */
function bringBack(supervisor: Supervisor): void {
  if (IS_DOWN.has(supervisor.state)) void supervisor.restart()
  else if (supervisor.watch.breaker.kind !== 'closed') void supervisor.watch.demand()
}

/**
 * Puts the control token where the owner's command line finds it. A gateway that cannot write there still serves.
 * @returns the way to take it back
 */
function publishToken(
  { url }: Listener,
  token: string,
  { log, stateFolder: folder }: AppOptions,
): () => void {
  try {
    const path = writeControlFile(folder ?? stateFolder(), { url, pid: process.pid, token })
    return () => removeControlFile(path, token)
  } catch (thrown) {
    const cause = thrown instanceof Error ? thrown.message : String(thrown)
    const fix = 'set HOLDFAST_STATE_DIR to a folder that can be written'
    log({
      level: 'warn',
      message: `restart, test and their like cannot be used from outside: ${cause}; ${fix}`,
    })
    return () => undefined
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

/** Which names are shadowed is found by merging all lists; no transition tells of it, so they are not merged for one. */
const UNMERGED: MergedCatalog = {
  listed: { tools: [], resources: [], resourceTemplates: [], prompts: [] },
  byKey: { tools: new Map(), resources: new Map(), resourceTemplates: new Map(), prompts: new Map() },
  shadowed: [],
}

function feedTransitions(runtime: Runtime, host: Host): TransitionFeed {
  const feed = new TransitionFeed(host.clock)
  for (const view of runtime.snapshot.upstreams.values()) feed.prime(describe(runtime, host, view, UNMERGED))
  runtime.store.onCommit(({ upstreams }, { upstreams: before }) => {
    for (const name of before.keys()) if (!upstreams.has(name)) feed.forget(name)
    for (const [name, view] of upstreams)
      if (view !== before.get(name)) feed.observe(describe(runtime, host, view, UNMERGED))
  })
  return feed
}

function describe(runtime: Runtime, host: Host, view: UpstreamView, catalog: MergedCatalog): UpstreamStatus {
  return describeUpstream(view, catalog, loadOf(runtime.supervisors.get(view.name)), host.clock.wallTime())
}

function describeAll(runtime: Runtime, host: Host): GatewayStatus['upstreams'] {
  const { upstreams, catalog } = runtime.snapshot
  return [...upstreams.values()].map(view => describe(runtime, host, view, catalog))
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
