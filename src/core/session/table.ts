interface Entry<T> {
  readonly value: T
  usedAt: number
}

/** Sessions by id, least recently used first. */
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
      const oldest = [...this.#entries].find(([, entry]) => !this.isBusy(entry.value))
      if (!oldest) return null
      this.#entries.delete(oldest[0])
      removed.push(oldest[1].value)
    }
    this.#entries.set(id, { value, usedAt: now })
    return removed
  }

  /** The session, marked as used; undefined when it is unknown or was idle for too long. */
  use(id: string, now: number): T | undefined {
    const entry = this.#entries.get(id)
    if (!entry) return undefined
    this.#entries.delete(id)
    if (this.#isOld(entry, now)) return undefined
    entry.usedAt = now
    this.#entries.set(id, entry)
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
      if (!this.#isOld(entry, now)) {
        if (now - entry.usedAt < this.idleMs) break
        continue
      }
      this.#entries.delete(id)
      removed.push(entry.value)
    }
    return removed
  }

  values(): T[] {
    return [...this.#entries.values()].map(entry => entry.value)
  }

  #isOld(entry: Entry<T>, now: number): boolean {
    return now - entry.usedAt >= this.idleMs && !this.isBusy(entry.value)
  }
}
