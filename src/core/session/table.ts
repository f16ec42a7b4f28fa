/** How much a session is needed: by nothing, by a stream that waits for news, by requests without an answer. */
export type Use = 'idle' | 'listening' | 'working'

export interface SessionRules<T> {
  /** Sessions in all. */
  readonly max: number
  /** Sessions of one owner. */
  readonly maxPerOwner: number
  /** Milliseconds after which an idle one ends. */
  readonly idleMs: number
  /** Milliseconds after which every one ends that is not working. */
  readonly maxAgeMs: number
  useOf(session: T): Use
  /** Whose it is; null = nobody is told apart, and only the bound on all sessions counts. */
  ownerOf(session: T): string | null
}

interface Entry<T> {
  readonly value: T
  readonly owner: string | null
  readonly bornAt: number
  usedAt: number
}

/** Who could not make room. */
export type Full = 'all' | 'owner'

/** Sessions by id. A use only notes the time: re-ordering on every request would cost more than looking for the oldest. */
export class SessionTable<T> {
  readonly #entries = new Map<string, Entry<T>>()
  readonly #perOwner = new Map<string, number>()

  constructor(private readonly rules: SessionRules<T>) {}

  get size(): number {
    return this.#entries.size
  }

  /** Adds a session. @returns those that had to make room, or who could not make any */
  add(id: string, value: T, now: number): T[] | Full {
    const { max, maxPerOwner, ownerOf } = this.rules
    const owner = ownerOf(value)
    const removed: T[] = []
    const isOwnerFull = () => owner !== null && (this.#perOwner.get(owner) ?? 0) >= maxPerOwner
    if (isOwnerFull() || this.#entries.size >= max) removed.push(...this.sweep(now))
    while (isOwnerFull()) if (!this.#evict(removed, owner)) return 'owner'
    while (this.#entries.size >= max) if (!this.#evict(removed, null)) return 'all'
    this.#entries.set(id, { value, owner, bornAt: now, usedAt: now })
    if (owner !== null) this.#perOwner.set(owner, (this.#perOwner.get(owner) ?? 0) + 1)
    return removed
  }

  /**
   * The session, marked as used; undefined when it is unknown or too old. An old one stays for the next sweep: whoever
   * sweeps ends it, and one that merely vanished would never be ended.
   */
  use(id: string, now: number): T | undefined {
    const entry = this.#entries.get(id)
    if (!entry || this.#isOld(entry, now, this.rules.idleMs)) return undefined
    entry.usedAt = now
    return entry.value
  }

  remove(id: string): T | undefined {
    const entry = this.#entries.get(id)
    if (!entry) return undefined
    this.#entries.delete(id)
    const { owner } = entry
    if (owner === null) return entry.value
    const left = (this.#perOwner.get(owner) ?? 1) - 1
    if (left > 0) this.#perOwner.set(owner, left)
    else this.#perOwner.delete(owner)
    return entry.value
  }

  /** Removes every session that is too old. @param idleMs where memory is short, less than the rule says */
  sweep(now: number, idleMs: number = this.rules.idleMs): T[] {
    const removed: T[] = []
    for (const [id, entry] of this.#entries) {
      if (!this.#isOld(entry, now, idleMs)) continue
      this.remove(id)
      removed.push(entry.value)
    }
    return removed
  }

  values(): T[] {
    return [...this.#entries.values()].map(entry => entry.value)
  }

  /** Removes the idle session that was unused for longest. @param owner null = anybody's */
  #evict(removed: T[], owner: string | null): boolean {
    let oldest: string | null = null
    let usedAt = Number.POSITIVE_INFINITY
    for (const [id, entry] of this.#entries) {
      if (entry.usedAt >= usedAt || (owner !== null && entry.owner !== owner)) continue
      if (this.rules.useOf(entry.value) !== 'idle') continue
      oldest = id
      usedAt = entry.usedAt
    }
    const value = oldest === null ? undefined : this.remove(oldest)
    if (value !== undefined) removed.push(value)
    return value !== undefined
  }

  #isOld(entry: Entry<T>, now: number, idleMs: number): boolean {
    const aged = now - entry.bornAt >= this.rules.maxAgeMs
    if (!aged && now - entry.usedAt < idleMs) return false
    const use = this.rules.useOf(entry.value)
    return use === 'idle' || (aged && use === 'listening')
  }
}
