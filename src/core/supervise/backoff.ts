/** How long to wait before start number `failures + 1`, and when a run of failures is forgotten. */
export interface BackoffPolicy {
  readonly baseMs: number
  readonly capMs: number
  readonly floorMs: number
  /** A connection that lived this long starts from zero again. */
  readonly resetAfterMs: number
  /** Between tries when retrying can hardly help: a missing command, a refused credential. */
  readonly slowMs: number
  /** A call may trigger a try when the last one began this long ago. */
  readonly demandAfterMs: number
}

export const DEFAULT_BACKOFF: BackoffPolicy = {
  baseMs: 1_000,
  capMs: 60_000,
  floorMs: 100,
  resetAfterMs: 60_000,
  slowMs: 300_000,
  demandAfterMs: 5_000,
}

/**
 * Full jitter: uniform in [floor, min(cap, base * 2^(failures-1))].
 * @param failures failed starts in a row, at least 1
 * @param random uniform in [0, 1)
 */
export function backoffDelay(policy: BackoffPolicy, failures: number, random: number): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(failures - 1, 30))
  return Math.max(policy.floorMs, random * ceiling)
}
