import type { BackoffPolicy } from './backoff.js'
import { backoffDelay } from './backoff.js'

/** Why a connection could not be opened or was lost, as far as the next step depends on it. */
export type FaultClass = 'outage' | 'misconfigured' | 'auth_required'

export interface Fault {
  readonly class: FaultClass
  /** In words, without the server's name. */
  readonly reason: string
}

/** Where one upstream is in its life. `epoch` numbers the attempts; events of older attempts are dropped. */
export type SuperviseState =
  | { readonly kind: 'disabled' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'starting'; readonly startedAt: number }
  | { readonly kind: 'ready'; readonly readyAt: number }
  | { readonly kind: 'backoff'; readonly fault: Fault; readonly until: number; readonly triedAt: number }
  | {
      readonly kind: 'misconfigured'
      readonly fault: Fault
      readonly until: number
      readonly triedAt: number
    }
  | {
      readonly kind: 'auth_required'
      readonly fault: Fault
      readonly until: number
      readonly triedAt: number
    }
  | { readonly kind: 'stopped' }

export interface Supervised {
  readonly state: SuperviseState
  readonly epoch: number
  /** Failed starts and early deaths in a row. */
  readonly failures: number
  /** Starts after the first successful one. */
  readonly restarts: number
  readonly everReady: boolean
  /** The last fault in a row of failures; kept while the next try is under way, so that status can say it. */
  readonly lastFault: Fault | null
}

export type SuperviseEvent =
  | { readonly kind: 'boot' }
  /** Somebody needs it now: a call, or a list for a lazy upstream. */
  | { readonly kind: 'demanded' }
  | { readonly kind: 'opened'; readonly epoch: number }
  | { readonly kind: 'open-failed'; readonly epoch: number; readonly fault: Fault }
  | { readonly kind: 'closed'; readonly epoch: number; readonly fault: Fault }
  | { readonly kind: 'timer-fired'; readonly epoch: number }
  | { readonly kind: 'stopped' }

export type SuperviseEffect =
  | { readonly kind: 'open'; readonly epoch: number }
  | { readonly kind: 'arm-timer'; readonly epoch: number; readonly delayMs: number }
  | { readonly kind: 'disarm-timer' }
  | { readonly kind: 'fetch-lists'; readonly epoch: number }
  | { readonly kind: 'close' }

export interface Step {
  readonly next: Supervised
  readonly effects: readonly SuperviseEffect[]
}

export const INITIAL: Supervised = {
  state: { kind: 'idle' },
  epoch: 0,
  failures: 0,
  restarts: 0,
  everReady: false,
  lastFault: null,
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
  const { state } = current
  if (state.kind === 'stopped' || state.kind === 'disabled') return ignore(current)
  switch (event.kind) {
    case 'boot':
      return state.kind === 'idle' ? start(current, now) : ignore(current)
    case 'demanded':
      return onDemand(current, now, policy)
    case 'opened':
      return state.kind === 'starting' && event.epoch === current.epoch
        ? becomeReady(current, now)
        : ignore(current)
    case 'open-failed':
      return state.kind === 'starting' && event.epoch === current.epoch
        ? fail(current, event.fault, state.startedAt, now, random, policy)
        : ignore(current)
    case 'closed':
      return state.kind === 'ready' && event.epoch === current.epoch
        ? onClosed(current, event.fault, state.readyAt, now, random, policy)
        : ignore(current)
    case 'timer-fired':
      return 'until' in state && event.epoch === current.epoch ? start(current, now) : ignore(current)
    case 'stopped':
      return {
        next: { ...current, state: { kind: 'stopped' }, epoch: current.epoch + 1 },
        effects: [{ kind: 'disarm-timer' }, { kind: 'close' }],
      }
  }
}

function ignore(current: Supervised): Step {
  return { next: current, effects: [] }
}

function start(current: Supervised, now: number): Step {
  const epoch = current.epoch + 1
  return {
    next: { ...current, epoch, state: { kind: 'starting', startedAt: now } },
    effects: [{ kind: 'disarm-timer' }, { kind: 'open', epoch }],
  }
}

function onDemand(current: Supervised, now: number, policy: BackoffPolicy): Step {
  const { state } = current
  if (state.kind === 'idle') return start(current, now)
  if ('triedAt' in state && now - state.triedAt >= policy.demandAfterMs) return start(current, now)
  return ignore(current)
}

function becomeReady(current: Supervised, now: number): Step {
  return {
    next: {
      ...current,
      state: { kind: 'ready', readyAt: now },
      restarts: current.everReady ? current.restarts + 1 : 0,
      everReady: true,
      lastFault: null,
    },
    effects: [{ kind: 'fetch-lists', epoch: current.epoch }],
  }
}

function fail(
  current: Supervised,
  fault: Fault,
  triedAt: number,
  now: number,
  random: number,
  policy: BackoffPolicy,
): Step {
  const failures = current.failures + 1
  const slow = fault.class !== 'outage'
  const delayMs = slow ? policy.slowMs : backoffDelay(policy, failures, random)
  const kind = fault.class === 'outage' ? 'backoff' : fault.class
  return {
    next: { ...current, failures, lastFault: fault, state: { kind, fault, triedAt, until: now + delayMs } },
    effects: [{ kind: 'arm-timer', epoch: current.epoch, delayMs }],
  }
}

/** The first restart after a healthy run comes at once; a connection that keeps dying early backs off. */
function onClosed(
  current: Supervised,
  fault: Fault,
  readyAt: number,
  now: number,
  random: number,
  policy: BackoffPolicy,
): Step {
  const lived = now - readyAt
  const before = lived >= policy.resetAfterMs ? 0 : current.failures
  if (before === 0 && fault.class === 'outage') {
    return start({ ...current, failures: 1, lastFault: fault }, now)
  }
  return fail({ ...current, failures: before }, fault, readyAt, now, random, policy)
}
