const WINDOW_MS = 10_000
const AT_LEAST = 3

/** Nothing that happened since then counts against a server. */
type Pardon = (since: number) => void

/**
 * When most servers fail within a moment, the fault is more likely ours (network, machine) than theirs: then nobody is
 * condemned for it.
 */
export class Suspicion {
  readonly #failed = new Map<string, { readonly at: number; readonly pardon: Pardon }>()

  /** @param pardon what is to be done for it once the fault turns out to be ours */
  failed(upstream: string, now: number, pardon: Pardon): void {
    this.#failed.set(upstream, { at: now, pardon })
  }

  recovered(upstream: string): void {
    this.#failed.delete(upstream)
  }

  /** It is no more; another one may have its name. */
  forget(upstream: string, pardon: Pardon): void {
    if (this.#failed.get(upstream)?.pardon === pardon) this.#failed.delete(upstream)
  }

  /** It is ours: those that failed first, when that could not be seen yet, are pardoned too. */
  pardon(now: number): void {
    const since = now - WINDOW_MS
    for (const { at, pardon } of [...this.#failed.values()]) if (at >= since) pardon(since)
  }

  /** @param total servers that could fail: enabled, and configured right */
  isOurs(now: number, total: number): boolean {
    let recent = 0
    for (const { at } of this.#failed.values()) if (now - at <= WINDOW_MS) recent += 1
    return recent >= AT_LEAST && recent * 2 > total
  }
}
