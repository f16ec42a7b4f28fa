import { type BackoffPolicy, backoffDelay, quarantineDelay } from './backoff.js'

/** Why a connection could not be opened or was lost, as far as the next step depends on it. */
export type FaultClass = 'outage' | 'misconfigured' | 'auth_required'

export interface Fault {
  readonly class: FaultClass
  /** In words, without the server's name. */
  readonly reason: string
  /** The fault may be our own machine's (no descriptors, a stalled loop, everything failing at once). */
  readonly local?: boolean
  /** It counts as one of the unexpected ends that lead to quarantine. */
  readonly counts?: boolean
  /** The server asked to be left alone for so many milliseconds. */
  readonly retryAfterMs?: number
  /** Only its session is gone; the server itself has just answered. */
  readonly renews?: boolean
}

interface Waiting {
  readonly fault: Fault
  readonly until: number
  readonly triedAt: number
  /** Not even a call may trigger a try earlier. */
  readonly notBefore: number
}

/** Where one upstream is in its life. `epoch` numbers the attempts; events of older attempts are dropped. */
export type SuperviseState =
  | { readonly kind: 'disabled' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'starting'; readonly startedAt: number }
  | { readonly kind: 'ready'; readonly readyAt: number }
  | ({ readonly kind: 'backoff' | 'misconfigured' | 'quarantined' } & Waiting)
  /** Waits for a person, not for a time. */
  | { readonly kind: 'auth_required'; readonly fault: Fault; readonly triedAt: number }
  | { readonly kind: 'draining' }
  | { readonly kind: 'stopped' }

export interface Supervised {
  readonly state: SuperviseState
  readonly epoch: number
  /** Failed starts and early deaths in a row. */
  readonly failures: number
  /** Times of the unexpected ends that count against the crash budget. */
  readonly ends: readonly number[]
  /** When the present run of failures began; null while there is none. */
  readonly outageSince: number | null
  readonly lastDelayMs: number
  /** When a lost session was last renewed; -Infinity before. */
  readonly renewedAt: number
  /** The budget was spent: tries are rare until a healthy run or a person forgives it. */
  readonly condemned: boolean
  /** Starts after the first successful one. */
  readonly restarts: number
  readonly everReady: boolean
  /** The last fault in a row of failures; kept while the next try is under way, so that status can say it. */
  readonly lastFault: Fault | null
  /** The words with which it wanted a sign-in; null once it was ready after that. */
  readonly signIn: string | null
}

export type SuperviseEvent =
  | { readonly kind: 'boot' }
  /** Somebody needs it now: a call, or a list for a lazy upstream. */
  | { readonly kind: 'demanded' }
  | { readonly kind: 'opened'; readonly epoch: number }
  | { readonly kind: 'open-failed'; readonly epoch: number; readonly fault: Fault }
  | { readonly kind: 'closed'; readonly epoch: number; readonly fault: Fault }
  | { readonly kind: 'timer-fired'; readonly epoch: number }
  /** Most servers failed together since then: that was ours, and counts against nobody. */
  | { readonly kind: 'pardoned'; readonly since: number }
  /** A person wants it started anew. */
  | { readonly kind: 'restarted' }
  /** @param lazily it waits until somebody needs it */
  | { readonly kind: 'enabled'; readonly lazily?: boolean }
  | { readonly kind: 'disabled' }
  /** Nobody used it for long enough. */
  | { readonly kind: 'idled' }
  | { readonly kind: 'stopped' }
  /** Nothing of it is left. */
  | { readonly kind: 'gone' }

export type SuperviseEffect =
  | { readonly kind: 'open'; readonly epoch: number }
  | { readonly kind: 'arm-timer'; readonly epoch: number; readonly delayMs: number }
  | { readonly kind: 'disarm-timer' }
  | { readonly kind: 'fetch-lists'; readonly epoch: number }
  /** Ends an attempt or a connection; a later `open` waits until nothing of it is left. */
  | { readonly kind: 'close' }

export interface Step {
  readonly next: Supervised
  readonly effects: readonly SuperviseEffect[]
}

export const INITIAL: Supervised = {
  state: { kind: 'idle' },
  epoch: 0,
  failures: 0,
  ends: [],
  outageSince: null,
  lastDelayMs: 0,
  renewedAt: Number.NEGATIVE_INFINITY,
  condemned: false,
  restarts: 0,
  everReady: false,
  lastFault: null,
  signIn: null,
}

/** What every transition may look at. */
interface Moment {
  /** Monotonic ms. */
  readonly now: number
  /** Uniform in [0, 1), for the jitter. */
  readonly random: number
  readonly policy: BackoffPolicy
}

/**
 * One transition. Pairs that are not in the table are ignored on purpose: `next` is then the very same object.
 * @param now monotonic ms
 * @param random uniform in [0, 1), for the jitter
 */
export function step(
  current: Supervised,
  event: SuperviseEvent,
  now: number,
  random: number,
  policy: BackoffPolicy,
): Step {
  const moment = { now, random, policy }
  switch (current.state.kind) {
    case 'stopped':
      return ignore(current)
    case 'draining':
      return event.kind === 'gone' ? settle(current, { kind: 'stopped' }) : ignore(current)
    case 'disabled':
      if (event.kind === 'enabled')
        return event.lazily ? settle(forgive(current), { kind: 'idle' }) : start(forgive(current), now)
      return event.kind === 'stopped' ? settle(current, { kind: 'stopped' }) : ignore(current)
    default:
      return isForeign(current, event) ? ignore(current) : stepLiving(current, event, moment)
  }
}

/** An event of an attempt of the past. */
function isForeign(current: Supervised, event: SuperviseEvent): boolean {
  return 'epoch' in event && event.epoch !== current.epoch
}

function stepLiving(current: Supervised, event: SuperviseEvent, moment: Moment): Step {
  const { state } = current
  const { now } = moment
  switch (event.kind) {
    case 'boot':
      return state.kind === 'idle' ? start(current, now) : ignore(current)
    case 'demanded':
      return onDemand(current, moment)
    case 'opened':
      return state.kind === 'starting' ? becomeReady(current, now) : ignore(current)
    case 'open-failed':
      return state.kind === 'starting' ? fail(current, event.fault, state.startedAt, moment) : ignore(current)
    case 'closed':
      return state.kind === 'ready' ? onClosed(current, event.fault, state.readyAt, moment) : ignore(current)
    case 'timer-fired':
      return 'until' in state ? start(current, now) : ignore(current)
    case 'pardoned':
      return pardon(current, event.since, moment)
    default:
      return onOrder(current, event.kind, now)
  }
}

/** What people and the idle rule ask for. */
function onOrder(current: Supervised, order: SuperviseEvent['kind'], now: number): Step {
  const ended = { ...forgive(current), epoch: current.epoch + 1 }
  switch (order) {
    case 'restarted': {
      const begun = start(forgive(current), now)
      return { next: begun.next, effects: [{ kind: 'close' }, ...begun.effects] }
    }
    case 'disabled':
      return leave(ended, { kind: 'disabled' })
    case 'idled':
      return mayIdle(current.state) ? leave(ended, { kind: 'idle' }) : ignore(current)
    case 'stopped':
      return leave({ ...current, epoch: current.epoch + 1 }, { kind: 'draining' })
    default:
      return ignore(current)
  }
}

/** Also one that failed, where nobody but a call may wake it. */
function mayIdle({ kind }: SuperviseState): boolean {
  return kind === 'ready' || kind === 'backoff' || kind === 'quarantined'
}

function ignore(current: Supervised): Step {
  return { next: current, effects: [] }
}

function settle(current: Supervised, state: SuperviseState): Step {
  return { next: { ...current, state, epoch: current.epoch + 1 }, effects: [] }
}

function leave(current: Supervised, state: SuperviseState): Step {
  return { next: { ...current, state }, effects: [{ kind: 'disarm-timer' }, { kind: 'close' }] }
}

function forgive(current: Supervised): Supervised {
  return {
    ...current,
    failures: 0,
    ends: [],
    outageSince: null,
    lastDelayMs: 0,
    condemned: false,
    lastFault: null,
  }
}

/** Whom only these ends condemned is condemned no more. */
function pardon(current: Supervised, since: number, { now, policy }: Moment): Step {
  const ends = current.ends.filter(at => at < since)
  if (ends.length === current.ends.length) return ignore(current)
  const { max } = policy.budget
  const spent = current.ends.length >= max && ends.length < max
  const pardoned = { ...current, ends, condemned: current.condemned && !spent }
  if (current.state.kind === 'quarantined' && !pardoned.condemned) return start(pardoned, now)
  return { next: pardoned, effects: [] }
}

function start(current: Supervised, now: number): Step {
  const epoch = current.epoch + 1
  return {
    next: { ...current, epoch, state: { kind: 'starting', startedAt: now } },
    effects: [{ kind: 'disarm-timer' }, { kind: 'open', epoch }],
  }
}

function onDemand(current: Supervised, { now, policy }: Moment): Step {
  const { state } = current
  if (state.kind === 'idle') return start(current, now)
  if (!('until' in state) || now < state.notBefore) return ignore(current)
  const after = state.kind === 'quarantined' ? policy.quarantineDemandMs : policy.demandAfterMs
  return now - state.triedAt >= after ? start(current, now) : ignore(current)
}

function becomeReady(current: Supervised, now: number): Step {
  return {
    next: {
      ...current,
      state: { kind: 'ready', readyAt: now },
      restarts: current.everReady ? current.restarts + 1 : 0,
      everReady: true,
      lastFault: null,
      signIn: null,
    },
    effects: [{ kind: 'fetch-lists', epoch: current.epoch }],
  }
}

/** What one more failure leaves behind, before it is decided what follows. */
function charge(current: Supervised, fault: Fault, { now, policy }: Moment): Supervised {
  const recent = current.ends.filter(at => now - at < policy.budget.windowMs)
  const ends = fault.counts && !fault.local ? [...recent, now] : recent
  return {
    ...current,
    failures: current.failures + 1,
    ends,
    condemned: current.condemned || ends.length >= policy.budget.max,
    outageSince: current.outageSince ?? now,
    lastFault: fault,
  }
}

function fail(current: Supervised, fault: Fault, triedAt: number, moment: Moment): Step {
  const charged = charge(current, fault, moment)
  if (fault.class === 'auth_required') {
    return {
      next: { ...charged, signIn: fault.reason, state: { kind: 'auth_required', fault, triedAt } },
      effects: [{ kind: 'disarm-timer' }],
    }
  }
  const { kind, delayMs: wanted } = sentence(charged, fault, moment)
  const askedMs = fault.retryAfterMs ?? 0
  const delayMs = Math.max(wanted, askedMs)
  const { now } = moment
  return {
    next: {
      ...charged,
      lastDelayMs: kind === 'backoff' ? delayMs : charged.lastDelayMs,
      state: { kind, fault, triedAt, until: now + delayMs, notBefore: now + askedMs },
    },
    effects: [{ kind: 'arm-timer', epoch: charged.epoch, delayMs }],
  }
}

function sentence(
  charged: Supervised,
  fault: Fault,
  { now, random, policy }: Moment,
): { kind: 'backoff' | 'misconfigured' | 'quarantined'; delayMs: number } {
  if (fault.class === 'misconfigured') return { kind: 'misconfigured', delayMs: policy.slowMs }
  if (charged.condemned) return { kind: 'quarantined', delayMs: quarantineDelay(policy, random) }
  const outageMs = now - (charged.outageSince ?? now)
  return { kind: 'backoff', delayMs: backoffDelay(policy, charged.failures, random, outageMs) }
}

/** The first restart after a healthy run comes at once; a connection that keeps dying early backs off. */
function onClosed(current: Supervised, fault: Fault, readyAt: number, moment: Moment): Step {
  const { now, policy } = moment
  const healthy = now - readyAt >= Math.max(policy.resetAfterMs, 2 * current.lastDelayMs)
  const before = healthy ? forgive(current) : current
  if (fault.renews && now - current.renewedAt >= policy.renewEveryMs)
    return start({ ...before, lastFault: fault, renewedAt: now }, now)
  const charged = charge(before, fault, moment)
  if (before.failures > 0 || fault.class !== 'outage' || charged.condemned) {
    return fail(before, fault, readyAt, moment)
  }
  return start(charged, now)
}
