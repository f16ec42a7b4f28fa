import { backoffDelay } from '../supervise/index.js'

/** May traffic enter? `closed` = yes; `open` = no; `half_open` = one request decides. */
export type Breaker =
  | { readonly kind: 'closed'; readonly consecutive: number }
  | {
      readonly kind: 'open'
      readonly reason: string
      /** Monotonic ms: since when it has not been closed. */
      readonly since: number
      readonly until: number
      readonly triedAt: number
      /** Trials that failed in this outage, the opening counted as the first. */
      readonly opens: number
    }
  | {
      readonly kind: 'half_open'
      readonly reason: string
      readonly since: number
      readonly triedAt: number
      readonly opens: number
      /** Somebody is asking right now. */
      readonly busy: boolean
    }

export type BreakerEvent =
  | { readonly kind: 'succeeded' }
  /** @param crowded the share of failures in the window is over the limit */
  | { readonly kind: 'failed'; readonly reason: string; readonly crowded: boolean }
  /** The wait is over. */
  | { readonly kind: 'due' }
  /** A call needs it: may it shorten the wait? */
  | { readonly kind: 'demanded' }
  /** One request was let in to decide. */
  | { readonly kind: 'trial-began' }
  /** It ended without a verdict: cancelled, or refused by a rule. */
  | { readonly kind: 'trial-void' }
  /** The connection is another one: what was known of the last says nothing. */
  | { readonly kind: 'reset' }

export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly consecutive: number
  readonly baseMs: number
  readonly capMs: number
  readonly floorMs: number
  readonly earlyMs: number
  readonly earlyCapMs: number
  /** A call may shorten the wait when the last trial began this long ago. */
  readonly demandAfterMs: number
}

export const DEFAULT_BREAKER: BreakerPolicy = {
  consecutive: 5,
  baseMs: 1_000,
  capMs: 60_000,
  floorMs: 100,
  earlyMs: 60_000,
  earlyCapMs: 5_000,
  demandAfterMs: 5_000,
}

export const CLOSED: Breaker = { kind: 'closed', consecutive: 0 }

/**
 * One transition; pairs that are not in the table give back the very same object.
 * @param now monotonic ms
 * @param random uniform in [0, 1)
 */
export function stepBreaker(
  current: Breaker,
  event: BreakerEvent,
  now: number,
  random: number,
  policy: BreakerPolicy,
): Breaker {
  if (event.kind === 'reset') return current.kind === 'closed' && current.consecutive === 0 ? current : CLOSED
  switch (current.kind) {
    case 'closed':
      return whileClosed(current, event, now, random, policy)
    case 'open':
      return whileOpen(current, event, now, policy)
    case 'half_open':
      return whileHalfOpen(current, event, now, random, policy)
  }
}

function whileClosed(
  current: Extract<Breaker, { kind: 'closed' }>,
  event: BreakerEvent,
  now: number,
  random: number,
  policy: BreakerPolicy,
): Breaker {
  if (event.kind === 'succeeded') return current.consecutive === 0 ? current : CLOSED
  if (event.kind !== 'failed') return current
  const consecutive = current.consecutive + 1
  if (consecutive < policy.consecutive && !event.crowded) return { kind: 'closed', consecutive }
  return {
    kind: 'open',
    reason: event.reason,
    since: now,
    triedAt: now,
    opens: 1,
    until: now + backoffDelay(policy, 1, random, 0),
  }
}

function whileOpen(
  current: Extract<Breaker, { kind: 'open' }>,
  event: BreakerEvent,
  now: number,
  policy: BreakerPolicy,
): Breaker {
  const { reason, since, opens } = current
  const halfOpen = { kind: 'half_open', reason, since, triedAt: now, opens, busy: false } as const
  switch (event.kind) {
    case 'due':
      return halfOpen
    case 'demanded':
      return now - current.triedAt >= policy.demandAfterMs ? halfOpen : current
    default:
      // Answers of requests that were under way when it opened: the trial decides, not they.
      return current
  }
}

function whileHalfOpen(
  current: Extract<Breaker, { kind: 'half_open' }>,
  event: BreakerEvent,
  now: number,
  random: number,
  policy: BreakerPolicy,
): Breaker {
  switch (event.kind) {
    case 'trial-began':
      return current.busy ? current : { ...current, busy: true, triedAt: now }
    case 'trial-void':
      return current.busy ? { ...current, busy: false } : current
    case 'succeeded':
      return CLOSED
    case 'failed': {
      const opens = current.opens + 1
      // Counted from the trial's begin: one that waited for an answer in vain has waited already.
      const delay = backoffDelay(policy, opens, random, now - current.since)
      const until = Math.max(now + policy.floorMs, current.triedAt + delay)
      return {
        kind: 'open',
        reason: event.reason,
        since: current.since,
        triedAt: current.triedAt,
        opens,
        until,
      }
    }
    default:
      return current
  }
}
