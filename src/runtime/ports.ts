/**
 * The ports of the runtime: what the machine, the upstream edge and the downstream edge offer or ask for.
 * Everything with an effect goes through one of them, so the gateway can run under a simulator.
 */
import type {
  Bytes,
  Call,
  CallContext,
  Caller,
  Era,
  GatewayError,
  HeaderParam,
  Kind,
  ObjectSlice,
  Outcome,
  Phase,
  Scope,
  Snapshot,
  UpstreamCatalog,
  UpstreamSpec,
} from '../model/index.js'

// ---- the machine -----------------------------------------------------------------------------------------

export interface Timer {
  /** Idempotent; after it the callback never runs. */
  cancel(): void
}

export interface Clock {
  /**
   * Monotonic milliseconds. The only clock that decides anything. It stands still while the gateway itself was stopped
   * or stalled for more than a second, so every deadline and timer moves by that much.
   */
  now(): number
  /** Wall-clock milliseconds since the epoch, for people. */
  wallTime(): number
  /** Runs `fn` once after `ms`, clamped to [0, LIMITS.timerMs]. Does not keep the process alive. */
  after(ms: number, fn: () => void): Timer
  /** Told after a stall, with its length, before any timer fires. Returns the way to stop it. */
  onStall?(listener: (lateMs: number) => void): () => void
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** `bytes` cryptographically strong random bytes as lower-case hex. */
  token(bytes: number): string
}

export interface SpawnRequest {
  readonly command: string
  readonly args: readonly string[]
  /** The entry's own variables; the spawner adds its allow-list of inherited ones. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface ChildEvents {
  /** The child runs (its pid is known). */
  spawned(): void
  /**
   * It could not be started: not found, not executable, bad cwd. No other event follows.
   * @param local the machine had no room for it, which is no fault of the program
   */
  failed(reason: string, cause: unknown, local?: boolean): void
  stdout(chunk: Bytes): void
  /** End of stdout. */
  stdoutEnd(): void
  stderr(chunk: Bytes): void
  /** stdin broke (EPIPE). Never thrown, never fatal. */
  stdinBroken(cause: unknown): void
  /** The kernel has taken everything, after `write` answered false. */
  drain(): void
  /** The direct child is gone. Comes at once, also when a grandchild still holds the pipes. */
  exit(code: number | null, signal: string | null): void
}

export interface Child {
  readonly pid: number | undefined
  /** Bytes accepted but not yet taken by the kernel. */
  readonly queuedBytes: number
  /** It has ended, and `exit` follows as soon as its last output is read. */
  readonly exited: boolean
  /**
   * False = not all of it was taken: the pipe is full, wait for `drain`. With nothing queued then, not one byte of it was
   * taken: the pipe is broken, which is told in a moment.
   */
  write(bytes: Bytes): boolean
  endInput(): void
  /** Signals the whole process group; true while something of it was there to be signalled. */
  killGroup(signal: 'SIGTERM' | 'SIGKILL'): boolean
  /** True while any process of the group lives. */
  groupAlive(): boolean
  /** Lets go of all pipes; no event follows. */
  release(): void
}

export interface Spawner {
  /** The child leads a process group of its own. Events are never delivered before `spawn` has returned. */
  spawn(request: SpawnRequest, events: ChildEvents): Child
  /** Children of which anything still lives. */
  readonly living?: number
  /** Told whenever nothing is left of one. Returns the way to stop it. */
  onEnded?(listener: () => void): () => void
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Path and query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Bytes
  /** Milliseconds from handing over to response headers; 0 = no limit. */
  readonly headersTimeoutMs: number
}

/** Why an HTTP exchange broke below the level of status codes. */
export interface HttpFault {
  /** `never-sent` when no byte of the request can have reached the peer. */
  readonly phase: Phase
  readonly reason:
    | 'refused'
    | 'dns'
    | 'tls'
    | 'connect-timeout'
    | 'headers-timeout'
    | 'reset'
    | 'aborted'
    | 'other'
  /** In words: "connection refused by 127.0.0.1:9". */
  readonly message: string
  /** This machine had no room for it: no descriptors, no memory. It says nothing about the peer. */
  readonly local?: boolean
  readonly cause?: unknown
}

export interface HttpHandler {
  /** Lower-case header names. */
  headers(status: number, headers: Readonly<Record<string, string>>): void
  data(chunk: Bytes): void
  /** The body ended properly. */
  end(): void
  /** Instead of `end`; also after `headers` when the body broke off. */
  fault(fault: HttpFault): void
}

export interface HttpExchange {
  /** Drops the exchange; no event follows. */
  abort(): void
}

/** Kept-alive connections to one origin. */
export interface HttpPool {
  request(request: HttpRequest, handler: HttpHandler): HttpExchange
  /** Fails what is under way and closes every socket. */
  destroy(): void
}

export interface Dialer {
  /** @param origin scheme, host and port, as `URL.origin` gives it. */
  pool(origin: string, options: { readonly connectTimeoutMs: number }): HttpPool
}

/** Everything of the machine that the gateway may use. */
export interface Host {
  readonly clock: Clock
  readonly random: Random
  readonly spawner: Spawner
  readonly dialer: Dialer
  /** Ends the children that gateways which crashed have left behind. Never rejects; the work is done once. */
  endLeftovers?(): Promise<void>
  /** At the very end: resolves when what is remembered of children and lists is as it is. */
  settle?(): Promise<void>
  /** What outlives the gateway; absent = nothing does. */
  readonly memory?: Memory
}

/** What one server was known to offer. */
export interface SavedCatalog {
  readonly catalog: UpstreamCatalog
  /** Wall-clock ms at which it was last known to be so. */
  readonly knownAt: number
}

/** A definition that a person, or the first sight of its server, has approved. */
export interface SavedPin {
  readonly kind: Kind
  readonly key: string
  /** The raw JSON object. */
  readonly bytes: Bytes
  /** Digest of a later definition that differs and was told of; null when there is none. */
  readonly told: { readonly hash: string; readonly at: number } | null
}

export interface SavedPins {
  /** Kinds of which the server has been seen: what comes later is new. */
  readonly kinds: readonly Kind[]
  readonly pins: readonly SavedPin[]
}

export interface Archive<Content> {
  /**
   * Null = nothing is kept; `lost` = it was, and cannot be trusted any more (that has been said in the log).
   * @param upstream for whoever reads the log
   */
  load(id: string, upstream: string): Content | 'lost' | null
  /** Beside the gateway's work, some time later; the last content counts. Never throws. */
  save(id: string, content: Content): void
}

/** What outlives the gateway, by identities that tell nothing. */
export interface Memory {
  readonly catalogs: Archive<SavedCatalog>
  readonly pins: Archive<SavedPins>
  /** One-way, and the same in every gateway: SHA-256 in hex. */
  digest(text: string): string
}

// ---- towards servers -------------------------------------------------------------------------------------

/** One request on its way to a server, already in that server's own names. */
export interface UpstreamRequest {
  readonly method: string
  /** The caller's params as sent; null = none. The era adapter rebuilds `_meta`. */
  readonly params: ObjectSlice | null
  /** Top-level members of params whose value is replaced: raw JSON by key. */
  readonly replace?: ReadonlyMap<string, Bytes>
  /** Null = a request of the gateway itself (lists, probes). */
  readonly context: CallContext | null
  /** For `tools/call` to modern HTTP servers. */
  readonly headerParams?: readonly HeaderParam[]
  /** Any sign of life that belongs to this request (progress, log, question). */
  readonly onActivity?: () => void
  /** For `subscriptions/listen`: the server has taken it up; raw params of its acknowledgement. */
  readonly onAcknowledged?: (params: Bytes | null) => void
  /** Called exactly once, never synchronously from within `request`. */
  readonly settle: (outcome: Outcome) => void
}

export interface RunningRequest {
  /** Tells the server (in its era's way), settles as `cancelled`, and swallows a late answer. Idempotent. */
  cancel(reason: string): void
}

/** A finished handshake with one server. */
export interface Connection {
  readonly transport: 'stdio' | 'http' | 'sse' | 'in-process'
  readonly era: Era
  readonly protocolVersion: string
  readonly serverInfo: { readonly name: string; readonly version: string } | null
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly instructions: string | null
  readonly pid: number | null
  /** Requests without a final answer. */
  readonly inFlight: number
  /** Cancelled requests that show progress after the grace: the server goes on with them for nobody. */
  readonly stuck?: number
  request(request: UpstreamRequest): RunningRequest
  /**
   * Has the server tell about changes of a resource, until the returned function is called; absent when it offers no
   * subscriptions. One at a time for each URI.
   * @param taken called once, in a later turn: null = it tells from now on, else its refusal. A server that does not
   * answer is asked again.
   */
  readonly follow?: (uri: string, taken: (refusal: Outcome | null) => void) => () => void
  /** Ends it in the server's way: stop ladder, session DELETE. Resolves when nothing of it is left. Idempotent. */
  close(): Promise<void>
  /** Ends it at once; requests in flight settle as `unknown` with `error`. Idempotent. */
  destroy(error: GatewayError): void
}

export interface ConnectionEvents {
  /** The connection is gone. Comes once, after every request in flight was settled; not after `close` or `destroy`. */
  closed(error: GatewayError): void
  /** A notification that belongs to no request: list changes, resource updates. Raw params. */
  notification(method: string, params: Bytes | null): void
  /** The server broke the protocol in a way that cost nobody an answer: stray ids, garbage lines. */
  violation(what: string): void
  /** One line of a child's stderr. */
  stderr(line: string): void
}

/** Opens connections to one configured server; remembers what it learned about its era and transport. */
export interface Connector {
  /**
   * Rejects with a GatewayError that names upstream, phase and cause. Aborting `signal` leaves nothing behind.
   * @param capabilities raw ClientCapabilities declared in a legacy handshake; modern servers get each caller's own.
   */
  open(events: ConnectionEvents, signal: AbortSignal, capabilities: Bytes): Promise<Connection>
}

export type ConnectorFactory = (spec: UpstreamSpec) => Connector

// ---- towards operators -----------------------------------------------------------------------------------

/** What a person may do to one server of a running gateway. All are idempotent and never throw for its state. */
export interface UpstreamActions {
  /** Ends what runs in the server's own way, forgets every failure, and starts it anew; also out of quarantine. */
  restart(): Promise<void>
  /** Takes a disabled server back in and starts it; until the gateway ends or the configuration changes. */
  enable(): void
  /** Ends it and takes it out of every list; calls to it are refused by name. Resolves when nothing of it is left. */
  disable(): Promise<void>
  /** Fetches its lists again; resolves when all were answered or failed. */
  refresh(): Promise<void>
  /**
   * Takes its tools and prompts as they are described now.
   * @param names public or own names; none = everything that waits for it
   * @throws GatewayError INVALID_PARAMS for a name that it does not offer
   */
  approve(names?: readonly string[]): void
}

// ---- towards clients -------------------------------------------------------------------------------------

/** A server that is missing from a list, or whose part of it is old. */
export interface UnavailableEntry {
  readonly upstream: string
  readonly state: string
  readonly reason: string
  /** ISO time. */
  readonly since: string
  /** True when its last known entries are still listed. */
  readonly stale: boolean
  /** ISO time of the next try, when one is planned. */
  readonly nextAttemptAt?: string
  /** Set when only this kind failed. */
  readonly kind?: Kind
}

export interface ListPage {
  /** Raw JSON of each component under its public name. */
  readonly items: readonly Bytes[]
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null
  readonly unavailable: readonly UnavailableEntry[]
  /** Milliseconds for which a client may keep it. */
  readonly ttlMs: number
  readonly cacheScope: 'public' | 'private'
}

/** What a client is told in the handshake; never depends on which servers are up. */
export interface Offer {
  readonly serverInfo: { readonly name: string; readonly title: string; readonly version: string }
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly instructions: string
}

export interface RunningCall {
  /** The caller gave up; the reply is not called any more unless it was already. Idempotent. */
  cancel(reason: string): void
}

/** One client's interest in one resource. Nothing is told from within `subscribe`. */
export interface SubscriptionEvents {
  /** Called once: null = it stands, for a server that is away from its return on; else why it does not. */
  settled(refusal: Outcome | null): void
  /** The resource changed, or may have while nobody could hear of it. Raw params, with the URI as subscribed to. */
  updated(params: Bytes): void
}

export interface Subscription {
  /** Nothing is told any more. Idempotent. */
  end(): void
}

/** What a face may ask of the runtime. */
export interface GatewayCore {
  readonly draining: boolean
  /** What that caller sees; nobody else's instance of a server is in it. */
  snapshotFor(caller: Caller): Snapshot
  offer(scope: Scope, caller: Caller): Offer
  /** Null when no server of that name is configured. */
  knowsServer(name: string): boolean
  /** @throws GatewayError INVALID_PARAMS for a cursor that is not ours or has expired. */
  list(kind: Kind, scope: Scope, cursor: string | null, caller: Caller): Promise<ListPage>
  /** `reply` is called exactly once, unless the call is cancelled. */
  call(call: Call, reply: (outcome: Outcome) => void): RunningCall
  /** Told after the merged content of a kind changed for that scope. Returns the way to stop it. */
  onListChanged(scope: Scope, listener: (kind: Kind) => void, caller: Caller): () => void
  /** Tells about changes of the resource under that public URI. */
  subscribe(scope: Scope, uri: string, caller: Caller, events: SubscriptionEvents): Subscription
  /** `x-mcp-header` annotations of a tool under its public name; empty when unknown. */
  headerParams(scope: Scope, toolName: string, caller: Caller): readonly HeaderParam[]
  /** That session is over: whatever was there for it alone ends. */
  endSession(session: object): void
}
