interface Entry<T> {
  readonly value: T
  usedAt: number
}

/** Sessions by id. A use only notes the time: re-ordering on every request would cost more than looking for the oldest. */
export class SessionTable<T> {
  readonly #entries = new Map<string, Entry<T>>()

  constructor(
    private readonly max: number,
    private readonly idleMs: number,
    /** Whether a session is in use and must not be ended for being old. */
    private readonly isBusy: (value: T) => boolean,
  ) {}

  get size(): number {
    return this.#entries.size
  }

  /** Adds a session. @returns those that had to make room, or null when nobody could */
  add(id: string, value: T, now: number): T[] | null {
    const removed = this.sweep(now)
    while (this.#entries.size >= this.max) {
      const oldest = this.#oldestIdle()
      if (!oldest) return null
      this.#entries.delete(oldest.id)
      removed.push(oldest.value)
    }
    this.#entries.set(id, { value, usedAt: now })
    return removed
  }

  /**
   * The session, marked as used; undefined when it is unknown or was idle for too long. An old one stays for the next
   * sweep: whoever sweeps ends it, and one that merely vanished would never be ended.
   */
  use(id: string, now: number): T | undefined {
    const entry = this.#entries.get(id)
    if (!entry || this.#isOld(entry, now)) return undefined
    entry.usedAt = now
    return entry.value
  }

  remove(id: string): T | undefined {
    const entry = this.#entries.get(id)
    this.#entries.delete(id)
    return entry?.value
  }

  /** Removes every session that was idle for too long. */
  sweep(now: number): T[] {
    const removed: T[] = []
    for (const [id, entry] of this.#entries) {
      if (!this.#isOld(entry, now)) continue
      this.#entries.delete(id)
      removed.push(entry.value)
    }
    return removed
  }

  values(): T[] {
    return [...this.#entries.values()].map(entry => entry.value)
  }

  #oldestIdle(): (Entry<T> & { id: string }) | null {
    let oldest: (Entry<T> & { id: string }) | null = null
    for (const [id, entry] of this.#entries) {
      if (oldest && entry.usedAt >= oldest.usedAt) continue
      if (!this.isBusy(entry.value)) oldest = { id, ...entry }
    }
    return oldest
  }

  #isOld(entry: Entry<T>, now: number): boolean {
    return now - entry.usedAt >= this.idleMs && !this.isBusy(entry.value)
  }
}
