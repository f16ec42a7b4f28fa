import { isServing } from '../core/health/index.js'
import {
  type BreakerState,
  type CatalogFindings,
  type Health,
  type Isolation,
  KINDS,
  type Kind,
  type LastError,
  type MergedCatalog,
  type UpstreamView,
  usableIn,
} from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

export type { Health } from '../model/index.js'
export type Action = 'none' | 'sign_in' | 'restart' | 'fix_config' | 'approve' | 'wait'

/** One upstream in `GET /api/v1/status`. Times are ISO strings. */
export interface UpstreamStatus {
  readonly name: string
  readonly prefix: string
  readonly transport: string
  /** Negotiated protocol version, null before the first handshake. */
  readonly era: string | null
  readonly health: Health
  readonly state: string
  readonly since: string
  /** One sentence for a person. */
  readonly summary: string
  readonly action: Action
  readonly reason: string | null
  readonly lastError: { readonly kind: string; readonly message: string; readonly at: string } | null
  readonly nextAttemptAt: string | null
  readonly breaker: BreakerState
  readonly isolation: Isolation
  /** Where not all share it: how many single identities or sessions have one of their own, and how those do. */
  readonly instances: {
    readonly total: number
    readonly unhealthy: number
    /** Of the one that became unhealthy last. */
    readonly reason: string | null
  } | null
  readonly catalog: {
    readonly state: 'none' | 'live' | 'stale' | 'held'
    readonly tools: number
    readonly resources: number
    readonly resourceTemplates: number
    readonly prompts: number
    readonly refreshedAt: string | null
    /** Kinds whose list could not be had, with the cause. */
    readonly failed: Readonly<Record<string, string>>
    readonly shadowed: readonly {
      readonly kind: string
      readonly name: string
      readonly by: string
      readonly reachableAs: string | null
    }[]
    /** Tools and prompts that are not described as they were. */
    readonly changed: readonly {
      readonly kind: string
      readonly name: string
      readonly changed: readonly string[]
      readonly diff: string
      readonly at: string
    }[]
    /** Not listed and not called before a person approves them. */
    readonly held: readonly { readonly kind: string; readonly name: string; readonly because: string }[]
    /** Texts with characters that nobody sees, and names that look like others. */
    readonly flagged: readonly { readonly kind: string; readonly name: string; readonly detail: string }[]
  }
  readonly pid: number | null
  readonly restarts: number
  readonly attempts: number
  readonly inFlight: number
  /** Calls that wait for a place. */
  readonly queued: number
  /** When it last answered anything. */
  readonly lastOkAt: string | null
  /** True once its first start has ended, well or not. */
  readonly settled: boolean
}

export interface GatewayStatus {
  readonly gateway: {
    readonly version: string
    readonly pid: number
    readonly startedAt: string
    readonly url: string | null
    readonly draining: boolean
    /** How loaded it is: level 0 (not) to 3, shares of the heap and of the descriptors, delay of the event loop. */
    readonly load?: {
      readonly level: number
      readonly heap: number
      readonly loopDelayMs: number
      readonly fds: number | null
    }
    readonly config: {
      readonly path: string | null
      /** Of what runs, secrets left out: the same wherever the same is configured, however it is written. */
      readonly hash: string
      /** ISO time of the one that runs. */
      readonly loadedAt: string
      readonly warnings: readonly string[]
      /** Counts the configurations that were taken over; the one of the start is 1. */
      readonly generation: number
      /** Why a later configuration was not taken over. */
      readonly lastError: { readonly message: string; readonly at: string } | null
    }
  }
  readonly upstreams: readonly UpstreamStatus[]
}

/** What changes with every call, and is counted beside the snapshot. */
export interface Load {
  readonly inFlight: number
  readonly queued: number
  /** Wall-clock ms. */
  readonly lastOkAt: number | null
  readonly instances: UpstreamStatus['instances']
}

export function describeUpstream(
  view: UpstreamView,
  catalog: MergedCatalog,
  load: Load,
  clock: Pick<Clock, 'now' | 'wallTime'>,
): UpstreamStatus {
  const nextAttemptAt = nextAttemptOf(view, clock)
  return {
    name: view.name,
    prefix: view.prefix,
    transport: view.transport,
    era: view.protocolVersion,
    health: view.health,
    state: view.state,
    since: iso(view.since),
    summary: summaryOf(view, clock.now()),
    action: actionOf(view),
    reason: view.reason,
    lastError: describeError(view.lastError),
    nextAttemptAt: nextAttemptAt === null ? null : iso(nextAttemptAt),
    breaker: view.breaker,
    isolation: view.isolation,
    instances: describeInstances(load.instances),
    catalog: describeCatalog(view, catalog),
    pid: view.pid,
    restarts: view.restarts,
    attempts: view.attempts,
    inFlight: load.inFlight,
    queued: load.queued,
    lastOkAt: load.lastOkAt === null ? null : iso(load.lastOkAt),
    settled: view.settled,
  }
}

/** Nothing that belongs to one of them but the reason. */
function describeInstances(figures: Load['instances']): UpstreamStatus['instances'] {
  return figures && { total: figures.total, unhealthy: figures.unhealthy, reason: figures.reason }
}

/** Wall-clock ms: as the lists tell it, unless the wall clock was set, or stood still, since then. */
function nextAttemptOf(
  { nextAttemptAt, nextAttemptDue }: UpstreamView,
  clock: Pick<Clock, 'now' | 'wallTime'>,
): number | null {
  if (nextAttemptAt === null || nextAttemptDue === null) return nextAttemptAt
  const now = clock.wallTime() + nextAttemptDue - clock.now()
  return Math.abs(now - nextAttemptAt) < 1_000 ? nextAttemptAt : now
}

function describeCatalog(view: UpstreamView, merged: MergedCatalog): UpstreamStatus['catalog'] {
  const fetched = KINDS.flatMap(kind => {
    const known = view.catalog[kind]
    return 'fetchedAt' in known ? [known.fetchedAt] : []
  })
  const { changed, held, flagged } = view.findings ?? NO_FINDINGS
  const isFetched = KINDS.some(kind => view.catalog[kind].state === 'live')
  const isLive = view.state === 'idle' || (isServing(view) && isFetched)
  const word = fetched.length === 0 ? 'none' : isLive ? 'live' : 'stale'
  return {
    state: held.length > 0 ? 'held' : word,
    tools: count(view, 'tools'),
    resources: count(view, 'resources'),
    resourceTemplates: count(view, 'resourceTemplates'),
    prompts: count(view, 'prompts'),
    refreshedAt: fetched.length === 0 ? null : iso(Math.max(...fetched)),
    failed: failedKinds(view),
    shadowed: merged.shadowed
      .filter(entry => entry.upstream === view.name)
      .map(entry => ({ kind: entry.kind, name: entry.key, by: entry.by, reachableAs: entry.reachableAs })),
    changed: changed.map(({ key, at, ...rest }) => ({ ...rest, name: key, at: iso(at) })),
    held: held.map(({ kind, key, because }) => ({ kind, name: key, because })),
    flagged: flagged.map(({ kind, key, detail }) => ({ kind, name: key, detail })),
  }
}

const NO_FINDINGS: CatalogFindings = { changed: [], held: [], flagged: [] }

/** What waits for a person's yes, in words; empty when nothing does. */
function waitsFor({ name, findings = NO_FINDINGS }: UpstreamView): string {
  const { changed, held } = findings
  if (held.length > 0) return `; ${held.length} held until approved (holdfast approve ${name})`
  return changed.length > 0 ? `; ${changed.length} changed since approved (holdfast status ${name})` : ''
}

function count(view: UpstreamView, kind: Kind): number {
  return usableIn(view.catalog[kind]).length
}

function failedKinds(view: UpstreamView): Record<string, string> {
  return Object.fromEntries(
    KINDS.flatMap(kind => {
      const catalog = view.catalog[kind]
      return catalog.state === 'failed' ? [[kind, catalog.reason]] : []
    }),
  )
}

function actionOf(view: UpstreamView): Action {
  switch (view.state) {
    case 'ready':
      if (view.health === 'unhealthy') return 'wait'
      return waitsFor(view) === '' ? 'none' : 'approve'
    case 'auth_required':
      return 'sign_in'
    case 'misconfigured':
      return 'fix_config'
    case 'backoff':
    case 'quarantined':
    case 'starting':
      return 'wait'
    default:
      return 'none'
  }
}

function summaryOf(view: UpstreamView, now: number): string {
  const { nextAttemptDue } = view
  const next = nextAttemptDue === null ? '' : `; next try in ${wholeSeconds(nextAttemptDue - now)}`
  if (view.state === 'disabled') return `${view.name} is ${view.reason ?? 'disabled'}.`
  if (view.state !== 'ready') {
    return `${view.name} is ${view.state.replace('_', ' ')}: ${view.reason ?? 'no reason known'}${next}.`
  }
  if (view.reason !== null) return `${view.name} is ${view.health}: ${view.reason}${next}.`
  const failed = Object.entries(failedKinds(view))[0]
  if (failed) return `${view.name} is up, but ${failed[1]}.`
  if (nextAttemptDue !== null) return `${view.name} is up and asked to be left alone${next}.`
  const counts = KINDS.map(kind => ({ kind, n: count(view, kind) })).filter(({ n }) => n > 0)
  const offers = counts.map(({ kind, n }) => `${n} ${words(kind, n)}`).join(', ')
  return `${view.name} is up${offers ? ` with ${offers}` : ''}${waitsFor(view)}.`
}

const SINGULAR: Readonly<Record<Kind, string>> = {
  tools: 'tool',
  resources: 'resource',
  resourceTemplates: 'resource template',
  prompts: 'prompt',
}

function words(kind: Kind, n: number): string {
  return n === 1 ? SINGULAR[kind] : `${SINGULAR[kind]}s`
}

function wholeSeconds(ms: number): string {
  return `${Math.max(0, Math.ceil(ms / 1_000))} s`
}

function describeError(error: LastError | null): UpstreamStatus['lastError'] {
  return error && { kind: error.kind, message: error.message, at: iso(error.at) }
}

function iso(wallTime: number): string {
  return new Date(wallTime).toISOString()
}
