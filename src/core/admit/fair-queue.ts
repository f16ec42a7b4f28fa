/** Waiting entries, served round-robin by principal. */
export class FairQueue<T> {
  /** In the order in which the principals take turns. */
  readonly #lines = new Map<string, T[]>()
  #size = 0

  constructor(private readonly max: number) {}

  get size(): number {
    return this.#size
  }

  /** False when it is full. */
  push(principal: string, entry: T): boolean {
    if (this.#size >= this.max) return false
    const line = this.#lines.get(principal)
    if (line) line.push(entry)
    else this.#lines.set(principal, [entry])
    this.#size += 1
    return true
  }

  /** The next one; its principal goes to the end of the round. */
  shift(): T | undefined {
    for (const [principal, line] of this.#lines) {
      const entry = line.shift()
      this.#lines.delete(principal)
      if (line.length > 0) this.#lines.set(principal, line)
      if (entry !== undefined) this.#size -= 1
      return entry
    }
    return undefined
  }

  /** Takes out one that no longer waits. */
  remove(principal: string, entry: T): boolean {
    const line = this.#lines.get(principal)
    const at = line?.indexOf(entry) ?? -1
    if (!line || at < 0) return false
    line.splice(at, 1)
    if (line.length === 0) this.#lines.delete(principal)
    this.#size -= 1
    return true
  }

  clear(): T[] {
    const all = [...this.#lines.values()].flat()
    this.#lines.clear()
    this.#size = 0
    return all
  }
}
