import {
  type Component,
  EMPTY_CATALOG,
  type HeldBecause,
  type Kind,
  type UpstreamCatalog,
} from './component.js'
import type { Isolation } from './spec.js'

export type LifecycleState =
  | 'disabled'
  | 'misconfigured'
  | 'idle'
  | 'starting'
  | 'ready'
  | 'backoff'
  | 'quarantined'
  | 'auth_required'
  | 'draining'
  | 'stopped'

/** It should run and does not: it waits for its next try, or for a person. */
export const DOWN_STATES: ReadonlySet<LifecycleState> = new Set([
  'backoff',
  'quarantined',
  'misconfigured',
  'auth_required',
])

/** May traffic enter? */
export type BreakerState = 'closed' | 'open' | 'half_open'

/** How a server does, whatever its lifecycle is at: `degraded` = it works, but not whole. */
export type Health = 'healthy' | 'degraded' | 'unhealthy' | 'unknown'

export interface LastError {
  readonly kind: string
  readonly message: string
  /** Wall-clock ms. */
  readonly at: number
}

/** A tool or prompt that is not described as it was pinned. */
export interface ChangedComponent {
  readonly kind: Kind
  /** Native name. */
  readonly key: string
  /** Members that differ. */
  readonly changed: readonly string[]
  /** Old and new text of each, shortened. */
  readonly diff: string
  /** Wall-clock ms at which it was first seen. */
  readonly at: number
}

/** What a person should look at in the lists of one upstream. */
export interface CatalogFindings {
  readonly changed: readonly ChangedComponent[]
  /** Not to be used before it is approved. */
  readonly held: readonly { readonly kind: Kind; readonly key: string; readonly because: HeldBecause }[]
  /** Definitions with characters that nobody sees. */
  readonly flagged: readonly { readonly kind: Kind; readonly key: string; readonly detail: string }[]
}

/** What everybody may know of one upstream at one moment. Frozen; replaced as a whole. */
export interface UpstreamView {
  readonly name: string
  readonly prefix: string
  /** As configured, or as found out. */
  readonly transport: 'stdio' | 'http' | 'sse' | 'in-process' | 'unknown'
  readonly state: LifecycleState
  readonly breaker: BreakerState
  readonly health: Health
  /** Wall-clock ms of the last change of state. */
  readonly since: number
  /** Why it is not ready, in words without the upstream's name; null when it is. */
  readonly reason: string | null
  readonly lastError: LastError | null
  /** Wall-clock ms of the next try, when one is planned. */
  readonly nextAttemptAt: number | null
  /** The same in monotonic ms, for everything that reckons with it: the wall clock may jump. */
  readonly nextAttemptDue: number | null
  /** Failed starts in a row. */
  readonly attempts: number
  /** Starts after the first successful one. */
  readonly restarts: number
  readonly pid: number | null
  /** Negotiated protocol version; null before the first handshake. */
  readonly protocolVersion: string | null
  readonly serverInfo: { readonly name: string; readonly version: string } | null
  readonly instructions: string | null
  /** True once its first start has ended, well or not, or when none is due: lists need not wait for it. */
  readonly settled: boolean
  readonly unavailable: 'keep' | 'hide'
  readonly isolation: Isolation
  readonly catalog: UpstreamCatalog
  /** Absent = nothing. */
  readonly findings?: CatalogFindings
}

/** Of a server that nobody is, or was, connected with. */
export const NEVER_CONNECTED = {
  breaker: 'closed',
  nextAttemptAt: null,
  nextAttemptDue: null,
  attempts: 0,
  restarts: 0,
  pid: null,
  protocolVersion: null,
  serverInfo: null,
  instructions: null,
  settled: true,
  catalog: EMPTY_CATALOG,
} as const satisfies Partial<UpstreamView>

/** One public name and who answers to it. */
export interface CatalogEntry {
  readonly kind: Kind
  /** Public name, URI or URI template. */
  readonly key: string
  readonly upstream: string
  readonly component: Component
}

/** A component that lost its public name to an earlier server. */
export interface Shadowed {
  readonly kind: Kind
  readonly key: string
  readonly upstream: string
  /** The server that has the name. */
  readonly by: string
  /** The name under which it can still be called; null where that one is taken too. */
  readonly reachableAs: string | null
}

/** What all upstreams offer together, in config order. */
export interface MergedCatalog {
  /** Listed entries by kind, in order. */
  readonly listed: Readonly<Record<Kind, readonly CatalogEntry[]>>
  /** Public key to entry, by kind; holds more than is listed (qualified names of shadowed ones). */
  readonly byKey: Readonly<Record<Kind, ReadonlyMap<string, CatalogEntry>>>
  readonly shadowed: readonly Shadowed[]
}

/** One frozen state of the whole gateway; a call keeps the one that it started with. */
export interface Snapshot {
  readonly version: number
  /** In config order. */
  readonly upstreams: ReadonlyMap<string, UpstreamView>
  readonly catalog: MergedCatalog
}
