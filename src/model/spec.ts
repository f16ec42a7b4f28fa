/** Who shares a connection to a server: everybody, everybody of one identity, or nobody beyond one client session. */
export type Isolation = 'shared' | 'principal' | 'session'

/** One configured server after parsing, expansion and defaults: effective values only. All times in ms. */
export interface UpstreamSpec {
  readonly name: string
  readonly transport: StdioSpec | HttpSpec
  /** Public names are `PREFIX__NAME`; `""` = no prefix. Two servers may share one. */
  readonly prefix: string
  readonly enabled: boolean
  /** Started by first use instead of at boot. */
  readonly lazy: boolean
  /** `auto` probes; `legacy` and `modern` skip the probe; a date pins one protocol version. */
  readonly era: string
  readonly isolation: Isolation
  readonly timeouts: Timeouts
  readonly supervision: Supervision
  /** Milliseconds for which its lists are served without asking again; 0 = each list asks. */
  readonly cacheTtlMs: number
  /** Tools whose results are kept, by glob pattern, with the milliseconds; the first that fits counts. */
  readonly cacheResults: readonly ResultRule[]
  readonly unavailable: 'keep' | 'hide'
  /** Never two of it at once: the old one ends before a changed one begins. */
  readonly exclusive?: boolean
  /** What becomes of the old version when a changed one cannot start; default `keep`. */
  readonly onUpdateFailure?: 'keep' | 'replace'
  /** What happens when a definition is not as it was: nothing, it is told, or it is held until approved. */
  readonly pin: PinMode
  readonly tools: ComponentFilter
  readonly resources: ComponentFilter
  readonly prompts: ComponentFilter
}

export type PinMode = 'off' | 'warn' | 'enforce'

export interface StdioSpec {
  readonly kind: 'stdio'
  readonly command: string
  readonly args: readonly string[]
  /** Only what the entry says; the spawner adds its allow-list of inherited variables. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface HttpSpec {
  /** `http` = Streamable HTTP only, `sse` = HTTP+SSE of 2024-11-05 only, `auto` = found out. */
  readonly kind: 'http' | 'sse' | 'auto'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export interface ResultRule {
  readonly pattern: string
  readonly ttlMs: number
}

export interface Timeouts {
  /** DNS, TCP and TLS, or the spawn event. */
  readonly connect: number
  /** From the start to a finished handshake. */
  readonly start: number
  /** A request without a sign of life. */
  readonly request: number
  /** A request in all. */
  readonly total: number
  /** One list request without a sign of life, and in all. */
  readonly list: number
  readonly listTotal: number
}

/** How a server is watched, brought back and shielded from too much at once. */
export interface Supervision {
  readonly health: {
    readonly intervalMs: number
    readonly timeoutMs: number
    /** Failed checks in a row that make it unhealthy. */
    readonly failures: number
  }
  /** Unexpected ends within the window that lead to quarantine. */
  readonly restart: { readonly max: number; readonly windowMs: number }
  readonly maxInFlight: number
  /** What the server says about its tools (`readOnlyHint`, `idempotentHint`) may decide about a retry. */
  readonly trusted: boolean
  /** Glob patterns of tools that may run twice. */
  readonly idempotent: readonly string[]
  /** Milliseconds without use after which it is stopped until it is needed again; null = never. */
  readonly idleStopMs: number | null
  /** A remote that scales to zero: nothing but a call wakes it, and it may answer late and with errors at first. */
  readonly wake: boolean
}

/** Glob patterns (`*` any run, `?` one character) over native names or URIs. Deny beats allow. */
export interface ComponentFilter {
  readonly allow?: readonly string[]
  readonly deny?: readonly string[]
}

/** A configured server that cannot work as written; the gateway runs without it and says why. */
export interface MisconfiguredSpec {
  readonly name: string
  readonly prefix: string
  readonly problem: string
}
