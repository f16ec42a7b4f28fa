/** How long to wait before start number `failures + 1`, when failures are forgotten, and when starts become rare. */
export interface BackoffPolicy {
  readonly baseMs: number
  readonly capMs: number
  readonly floorMs: number
  /** While an outage is younger than `earlyMs`, no wait is longer than `earlyCapMs`: short outages end fast. */
  readonly earlyMs: number
  readonly earlyCapMs: number
  /** A connection that lived this long, and twice as long as the last wait, starts from zero again. */
  readonly resetAfterMs: number
  /** A lost session is renewed at once, and is no failure, unless the last such renewal is younger than this. */
  readonly renewEveryMs: number
  /** Between tries when retrying can hardly help: a missing command. */
  readonly slowMs: number
  /** A call may trigger a try when the last one began this long ago. */
  readonly demandAfterMs: number
  /** This many unexpected ends within the window, and starts become rare. */
  readonly budget: { readonly max: number; readonly windowMs: number }
  /** Between tries in quarantine, give or take a fifth. */
  readonly quarantineMs: number
  /** In quarantine, a call may trigger a try when the last one began this long ago. */
  readonly quarantineDemandMs: number
}

export const DEFAULT_BACKOFF: BackoffPolicy = {
  baseMs: 1_000,
  capMs: 60_000,
  floorMs: 100,
  earlyMs: 60_000,
  earlyCapMs: 5_000,
  resetAfterMs: 60_000,
  renewEveryMs: 10_000,
  slowMs: 300_000,
  demandAfterMs: 5_000,
  budget: { max: 5, windowMs: 120_000 },
  quarantineMs: 300_000,
  quarantineDemandMs: 15_000,
}

/**
 * Full jitter: uniform in [floor, min(cap, base * 2^(failures-1))].
 * @param failures failed tries in a row, at least 1
 * @param random uniform in [0, 1)
 * @param outageMs for how long it has failed
 */
export function backoffDelay(
  policy: Pick<BackoffPolicy, 'baseMs' | 'capMs' | 'floorMs' | 'earlyMs' | 'earlyCapMs'>,
  failures: number,
  random: number,
  outageMs = Number.POSITIVE_INFINITY,
): number {
  const cap = outageMs < policy.earlyMs ? Math.min(policy.capMs, policy.earlyCapMs) : policy.capMs
  const ceiling = Math.min(cap, policy.baseMs * 2 ** Math.min(failures - 1, 30))
  return Math.max(policy.floorMs, random * ceiling)
}

/** Rare, and not all at the same time. */
export function quarantineDelay(policy: Pick<BackoffPolicy, 'quarantineMs'>, random: number): number {
  return policy.quarantineMs * (0.8 + 0.4 * random)
}
