/**
 * The composition root: wires every room once. Read it first; ARCHITECTURE.md tells the flow.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import type { ConfigReading } from './config/index.js'
import { connectionsFor } from './connections.js'
import {
  Control,
  type GatewayStatus,
  type ToolListing,
  type TransitionFeed,
  type UpstreamStatus,
} from './control/index.js'
import {
  boundsFor,
  createGuard,
  createHttpFace,
  createStdioFace,
  type PressureGauge,
  Shedder,
} from './downstream/index.js'
import { holdProcess } from './hold.js'
import { nodeHost, ProcessGauge, stateFolder } from './host/index.js'
import { DOWN_STATES, GatewayError, LIMITS, type Snapshot } from './model/index.js'
import { type Log, StartProgress, StderrTails, TransitionLog } from './observe/index.js'
import { Runtime } from './runtime/gateway.js'
import type { Clock, Host, UpstreamActions } from './runtime/ports.js'
import type { CredentialSource } from './runtime/realms/index.js'
import { Shutdown } from './runtime/shutdown.js'
import { StartGate } from './runtime/start-gate.js'
import type { Supervisor } from './runtime/supervisor.js'
import type { TestReport } from './runtime/test-report.js'
import { Tester, type TestOptions } from './runtime/tester.js'
import { createRequestHandler, type Listener, openListener } from './server.js'
import { createConnectorFactory } from './upstream/index.js'
import { VERSION } from './version.js'
import {
  type Address,
  ConfigFeed,
  ConfigViewer,
  describe,
  describeAll,
  emptied,
  endOf,
  FrontDoor,
  feedTransitions,
  type Identify,
  identified,
  type LoadConfig,
  listTools,
  type Pipe,
  publishToken,
  Reloader,
  type ReloadResult,
  type ReloadWishes,
  watchTransitions,
} from './wiring/index.js'

export interface AppOptions {
  readonly reading: ConfigReading
  readonly configPath: string | null
  readonly log: Log
  /** Reads the configuration again; absent where there is no file. */
  readonly load?: LoadConfig | undefined
  readonly host?: Host
  /** Where the control file goes while the gateway listens. Default: see `stateFolder`. */
  readonly stateFolder?: string
  /** Who calls, over HTTP. Default: nobody is told apart. */
  readonly identify?: Identify | undefined
  /** With which headers single identities go to servers that are not shared. */
  readonly credentials?: CredentialSource | undefined
  /** Default: this process. */
  readonly gauge?: PressureGauge
}

export interface App {
  readonly runtime: Runtime
  readonly clock: Clock
  readonly handler: (req: IncomingMessage, res: ServerResponse) => void
  /**
   * Opens the socket, then starts the upstreams; after a failure it may be tried again.
   * @param address overrides `holdfast.listen`
   * @throws GatewayError when it listens already, or has been stopped
   */
  listen(address?: Address): Promise<Listener>
  /** Starts the upstreams. Idempotent; does nothing after a stop. */
  boot(): void
  /** Resolves when the client has closed its end. What it asked before is still answered, until `close`. */
  serveStdio(input: Readable, output: Writable): Promise<void>
  status(): GatewayStatus
  /** Null for a name that is not configured. */
  upstream(name: string): UpstreamStatus | null
  /** Null for a name that is not configured, and for an entry that cannot work as it is written. */
  actions(name: string): UpstreamActions | null
  test(name: string, options: TestOptions): Promise<TestReport>
  /**
   * Takes over another configuration while everything runs.
   * @param load default: reads what the gateway was started with again
   * @throws GatewayError INVALID_PARAMS where there is nothing to read
   */
  reload(load?: LoadConfig, wishes?: ReloadWishes): Promise<ReloadResult>
  readonly transitions: TransitionFeed
  /** Every configuration that was taken over or refused. */
  readonly configs: ConfigFeed
  tools(): Promise<ToolListing>
  onCommit(listener: (snapshot: Snapshot) => void): () => void
  /** Drains, stops every upstream, closes every stream. Idempotent; a second call waits for the first. */
  close(): Promise<void>
  /** Ends everything at once; for a second signal. Whoever waits for an answer gets one. */
  kill(): Promise<void>
}

const TOKEN_BYTES = 32

export function createApp(options: AppOptions): App {
  const { reading, log } = options
  const warn = (message: string) => log({ level: 'warn', message })
  const host = options.host ?? nodeHost({ stateFolder: stateFolder(), warn })
  const tails = new StderrTails()
  const connectors = gateFor(host, log).guard(
    createConnectorFactory(host, { name: 'holdfast', version: VERSION }),
  )
  const runtime = new Runtime({
    host,
    connectors,
    upstreams: reading.upstreams,
    info: { name: 'holdfast', title: 'Holdfast', version: VERSION },
    events: {
      stderr: (upstream, line) => tails.add(upstream, line),
      warning: (upstream, message) => log({ level: 'warn', upstream, message }),
    },
    hasIdentities: options.identify !== undefined,
    credentials: options.credentials,
    later: news => reloader.later(news),
  })
  const stopWatching = watchTransitions(runtime, host, new TransitionLog(log))
  const progress = new StartProgress(log, host.clock, tails)
  runtime.store.onCommit((snapshot, _previous, changed) => progress.observe(snapshot, changed))
  const transitions = feedTransitions(runtime, host)
  const actions = (name: string) => runtime.actions(name)
  const tester = new Tester({
    connectors,
    clock: host.clock,
    find: name => runtime.entries.find(upstream => upstream.name === name),
    succeeded: name => {
      const supervisor = runtime.supervisors.get(name)
      if (supervisor && !runtime.draining) bringBack(supervisor)
    },
  })
  const stopTiming = host.clock.onStall?.(ms =>
    warn(`The gateway stood still for ${(ms / 1_000).toFixed(1)} s; every deadline was moved by that.`),
  )

  let { settings } = reading
  let guard = createGuard(settings)
  const configs = new ConfigFeed()
  const viewer = new ConfigViewer()
  const reloader: Reloader = new Reloader({
    runtime,
    clock: host.clock,
    log,
    reading,
    prepare: (now, wanted) => door.prepare(now, wanted),
    settle: changed => {
      settings = changed
      guard = createGuard(changed)
    },
    told: result => configs.tell(result),
  })
  const reload: App['reload'] = (load, wishes) => {
    const source = load ?? options.load
    if (!source) throw new GatewayError('INVALID_PARAMS', 'There is no config file to read again.')
    return reloader.reload(source, wishes)
  }
  const machine = new ProcessGauge()
  const load = new Shedder(host, options.gauge ?? machine)
  const bounds = boundsFor(machine.heapLimitBytes)
  const face = createHttpFace(runtime, host, { load, bounds })
  const startedAt = host.clock.wallTime()
  const pipes: Pipe[] = []
  load.onPressure(level => {
    face.relieve()
    door.listener?.shortenIdle(level > 0)
  })

  const configStatus = () => ({
    path: options.configPath,
    hash: viewer.hash(runtime.entries, settings),
    ...reloader.status,
  })
  const status = (): GatewayStatus => ({
    gateway: {
      version: VERSION,
      pid: process.pid,
      startedAt: new Date(startedAt).toISOString(),
      url: door.listener && `${door.listener.url}/mcp`,
      draining: runtime.draining,
      ...load.status,
      config: configStatus(),
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
    readers: face.readers,
    transitions,
    status,
    config: () => ({ ...configStatus(), ...viewer.view(runtime.entries, settings) }),
    upstream,
    actions,
    test: (name, wishes) => tester.test(name, wishes),
    reload: dryRun => reload(undefined, { dryRun }),
    onConfig: listener => configs.listen(listener),
    logs: name => (runtime.knowsServer(name) ? tails.lines(name) : null),
    followLogs: (name, tell) => tails.follow(name, tell),
    tools: () => listTools(runtime),
    get draining() {
      return runtime.draining
    },
  })
  const serveMcp = identified(face.handle.bind(face), options.identify, host.clock)
  const handler = createRequestHandler({
    guard: (req, res) => guard(req, res),
    mcp: serveMcp,
    knowsServer: name => runtime.knowsServer(name),
    control: (req, res, path) => control.handle(req, res, path),
  })
  const door: FrontDoor = new FrontDoor({
    listen: address => {
      const maxConnections = connectionsFor(machine.fdLimit)
      return openListener(handler, { maxConnections, random: () => host.random.next(), ...address }, warn)
    },
    publish: listener => publishToken(listener, token, options),
    get isOver() {
      return shutdown.begun
    },
  })

  const shutdown: Shutdown = new Shutdown({
    clock: host.clock,
    runtime: {
      drained: ms => runtime.drained(ms),
      stop: async () => (await Promise.all([runtime.stop(), tester.stop()]))[0],
      kill: () => {
        tester.kill()
        runtime.kill()
      },
    },
    get timeoutMs() {
      return settings.shutdownTimeoutMs
    },
    closeDoor: async () => {
      await Promise.all([door.close(), ...pipes.map(emptied)])
    },
    endFaces: () => {
      control.close()
      face.close()
      for (const { stdio } of pipes) stdio.close()
    },
    dropConnections: () => door.destroy(),
    release: async () => {
      stopWatching()
      progress.stop()
      load.stop()
      stopTiming?.()
      await host.settle?.()
    },
    warn: (upstream, message) => log({ level: 'warn', message, ...(upstream === null ? {} : { upstream }) }),
  })
  const boot = () => {
    if (shutdown.begun) return
    void host.endLeftovers?.()
    load.start()
    runtime.boot()
  }

  return {
    runtime,
    clock: host.clock,
    handler,
    status,
    upstream,
    actions,
    reload,
    test: (name, wishes) => tester.test(name, wishes),
    transitions,
    configs,
    tools: () => listTools(runtime),
    boot,
    listen: async address => {
      const opened = await door.open(settings, address ?? {})
      boot()
      return opened
    },
    serveStdio: async (input, output) => {
      load.start()
      const held = new PassThrough()
      const stdio = createStdioFace(runtime, host, { input: held, output }, { load, bounds })
      pipes.push({ stdio, output })
      await Promise.race([endOf(input, held), stdio.closed])
    },
    onCommit: handle => runtime.store.onCommit(handle),
    close: () => holdProcess(shutdown.close()),
    kill: () => holdProcess(shutdown.kill()),
  }
}

/** A test reached it, so whatever the gateway waits for before it tries again need not be waited for. */
function bringBack(supervisor: Supervisor): void {
  if (DOWN_STATES.has(supervisor.state)) void supervisor.restart()
  else if (supervisor.watch.breaker.kind !== 'closed') void supervisor.watch.demand()
}

function gateFor(host: Host, log: Log): StartGate {
  const message = `Its start waits: ${LIMITS.children} child processes are running, and no more may.`
  return new StartGate({ host, full: upstream => log({ level: 'warn', upstream, message }) })
}
