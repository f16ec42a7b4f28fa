const WINDOW_MS = 10_000
const AT_LEAST = 3

/**
 * When most servers fail within a moment, the fault is more likely ours (network, machine) than theirs: then nobody is
 * condemned for it.
 */
export class Suspicion {
  readonly #failedAt = new Map<string, number>()

  failed(upstream: string, now: number): void {
    this.#failedAt.set(upstream, now)
  }

  recovered(upstream: string): void {
    this.#failedAt.delete(upstream)
  }

  /** @param total servers that could fail: enabled, and configured right */
  isOurs(now: number, total: number): boolean {
    let recent = 0
    for (const at of this.#failedAt.values()) if (now - at <= WINDOW_MS) recent += 1
    return recent >= AT_LEAST && recent * 2 > total
  }
}
