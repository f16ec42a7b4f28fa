export interface WindowPolicy {
  readonly windowMs: number
  /** With fewer calls than this, a share says nothing. */
  readonly minCalls: number
  /** Share of failures at which the window is crowded. */
  readonly share: number
}

export const DEFAULT_WINDOW: WindowPolicy = { windowMs: 30_000, minCalls: 10, share: 0.5 }

const BUCKETS = 6

/** Successes and failures of the last half minute, in slices; recording costs two additions. */
export class FailureWindow {
  readonly #calls = new Array<number>(BUCKETS).fill(0)
  readonly #failures = new Array<number>(BUCKETS).fill(0)
  #slice = 0

  constructor(private readonly policy: WindowPolicy = DEFAULT_WINDOW) {}

  record(now: number, failed: boolean): void {
    const at = this.#turn(now)
    this.#calls[at] = (this.#calls[at] ?? 0) + 1
    if (failed) this.#failures[at] = (this.#failures[at] ?? 0) + 1
  }

  /** True when enough of enough calls failed. */
  isCrowded(now: number): boolean {
    this.#turn(now)
    const calls = sum(this.#calls)
    return calls >= this.policy.minCalls && sum(this.#failures) / calls >= this.policy.share
  }

  clear(): void {
    this.#calls.fill(0)
    this.#failures.fill(0)
  }

  /** The bucket of that moment; those that were passed over are emptied. */
  #turn(now: number): number {
    const slice = Math.floor(now / (this.policy.windowMs / BUCKETS))
    const passed = Math.min(BUCKETS, slice - this.#slice)
    for (let i = 0; i < passed; i += 1) {
      this.#calls[(slice - i) % BUCKETS] = 0
      this.#failures[(slice - i) % BUCKETS] = 0
    }
    if (passed > 0) this.#slice = slice
    return this.#slice % BUCKETS
  }
}

function sum(values: readonly number[]): number {
  let total = 0
  for (const value of values) total += value
  return total
}
