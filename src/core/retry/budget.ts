const SHARE = 0.2
const AT_LEAST = 3

/**
 * Retries of one upstream that run at the same time: at most a fifth of what is under way, and always three. One
 * budget for every reason to retry, so that an outage is not multiplied by those who wait.
 */
export class RetryBudget {
  #retrying = 0

  get retrying(): number {
    return this.#retrying
  }

  /** @param active requests under way, this one included */
  take(active: number): boolean {
    if (this.#retrying >= Math.max(AT_LEAST, Math.floor(active * SHARE))) return false
    this.#retrying += 1
    return true
  }

  give(): void {
    this.#retrying = Math.max(0, this.#retrying - 1)
  }
}
