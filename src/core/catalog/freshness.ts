/**
 * How old one list of one server may be: when it is fetched, when it is served as it is, when it is asked for again.
 * Fetches are counted, because two clock readings may be equal.
 */
export interface Freshness {
  /** `away`: there is no connection to ask on. */
  readonly phase: 'away' | 'resting' | 'fetching'
  /** Fetches begun in all. */
  readonly begun: number
  /** Monotonic ms at which the next fetch is due; Infinity = when somebody looks at it. */
  readonly dueAt: number
  /** The fetch that is due was asked for by an announcement of the server. */
  readonly announced: boolean
  /** Monotonic ms from which on it counts as old; -Infinity = it does already. */
  readonly freshUntil: number
  /** What happened since the fetch under way began: its answer may be old before it is here. */
  readonly overtaken: 'no' | 'changed' | 'asked'
  /** Somebody looked at it since the last fetch began: worth being kept fresh. */
  readonly used: boolean
  /** Failed fetches in a row. */
  readonly failures: number
  /** Monotonic ms at which the last fetch began that an announcement led to. */
  readonly announcedAt: number
}

export type FreshnessEvent =
  | { readonly kind: 'connected' | 'disconnected' }
  /** The server says that it changed, or its answer to a call suggests it. */
  | { readonly kind: 'changed' }
  /** Somebody looks at the list, or uses what is in it. */
  | { readonly kind: 'used' }
  /** A person wants it now. */
  | { readonly kind: 'asked' }
  | { readonly kind: 'began' | 'failed' }
  | { readonly kind: 'succeeded'; readonly ttlMs: number }

/** Announcements within this time cost one fetch. */
const COALESCE_MS = 100
/** A server that announces changes all the time is asked this seldom. */
const STORM_MS = 5_000
const FIRST_RETRY_MS = 5_000
const LAST_RETRY_MS = 60_000

export const NEVER_FETCHED: Freshness = {
  phase: 'away',
  begun: 0,
  dueAt: Infinity,
  announced: false,
  freshUntil: -Infinity,
  overtaken: 'no',
  used: false,
  failures: 0,
  announcedAt: -Infinity,
}

/** Age = TTL is old already. */
export function isFresh(state: Freshness, now: number): boolean {
  return now < state.freshUntil
}

export function stepFreshness(state: Freshness, event: FreshnessEvent, now: number): Freshness {
  switch (event.kind) {
    case 'connected':
      return { ...old(state), phase: 'resting', dueAt: now, announced: false, failures: 0 }
    case 'disconnected':
      return { ...old(state), phase: 'away', dueAt: Infinity, announced: false }
    case 'began':
      return begin(state, now)
    case 'succeeded':
      return state.phase === 'fetching' ? succeed(state, event.ttlMs, now) : state
    case 'failed':
      return state.phase === 'fetching' ? fail(state, now) : state
    case 'changed':
      return change(state, now)
    case 'asked':
      return ask(state, now)
    case 'used':
      return use(state, now)
  }
}

/** What is held is old, and nothing is known of what has happened since. */
function old(state: Freshness): Freshness {
  return { ...state, freshUntil: -Infinity, overtaken: 'no' }
}

function begin(state: Freshness, now: number): Freshness {
  if (state.phase !== 'resting') return state
  return {
    ...state,
    phase: 'fetching',
    begun: state.begun + 1,
    dueAt: Infinity,
    announced: false,
    overtaken: 'no',
    used: false,
    announcedAt: state.announced ? now : state.announcedAt,
  }
}

function succeed(state: Freshness, ttlMs: number, now: number): Freshness {
  const rested: Freshness = { ...state, phase: 'resting', failures: 0 }
  if (state.overtaken === 'asked') return { ...old(rested), dueAt: now }
  if (state.overtaken === 'changed') return announce(old(rested), now)
  const freshUntil = now + ttlMs
  return { ...rested, freshUntil, dueAt: state.used && ttlMs > 0 ? freshUntil : Infinity }
}

function fail(state: Freshness, now: number): Freshness {
  const failures = state.failures + 1
  const pause = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10), LAST_RETRY_MS)
  const dueAt = state.overtaken === 'asked' ? now : now + pause
  return { ...old(state), phase: 'resting', failures, dueAt, announced: state.overtaken === 'changed' }
}

function change(state: Freshness, now: number): Freshness {
  if (state.phase === 'away') return state
  if (state.phase === 'fetching') {
    return { ...state, overtaken: state.overtaken === 'asked' ? 'asked' : 'changed' }
  }
  const changed = { ...state, freshUntil: -Infinity }
  // One that fails is asked again at its own pace, whatever it announces.
  return state.failures > 0 ? changed : announce(changed, now)
}

function announce(state: Freshness, now: number): Freshness {
  const dueAt = Math.max(now + COALESCE_MS, state.announcedAt + STORM_MS)
  return state.dueAt <= dueAt ? state : { ...state, dueAt, announced: true }
}

function ask(state: Freshness, now: number): Freshness {
  if (state.phase === 'fetching') return { ...state, overtaken: 'asked' }
  return state.phase === 'away' ? state : { ...state, dueAt: Math.min(state.dueAt, now) }
}

function use(state: Freshness, now: number): Freshness {
  if (state.phase !== 'resting' || state.dueAt !== Infinity)
    return state.used ? state : { ...state, used: true }
  return { ...state, used: true, dueAt: isFresh(state, now) ? state.freshUntil : now }
}
