interface Slot<T> {
  readonly id: number
  readonly value: T
}

const FIRST_SIZE = 64
const LAST_SIZE = 4_096

/**
 * Values by ids that count upwards. A ring indexed by the low bits of the id; what outlives a whole round moves aside
 * into a Map, where long-lived entries belong.
 */
export class IdRing<T> {
  #slots: (Slot<T> | null)[] = new Array(FIRST_SIZE).fill(null)
  readonly #aside = new Map<number, T>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(id: number): T | undefined {
    const slot = this.#slots[id & (this.#slots.length - 1)]
    return slot?.id === id ? slot.value : this.#aside.get(id)
  }

  /** @param id not in the table yet */
  set(id: number, value: T): void {
    if (this.#size - this.#aside.size > this.#slots.length / 2 && this.#slots.length < LAST_SIZE) this.#grow()
    this.#size += 1
    this.#put({ id, value })
  }

  delete(id: number): T | undefined {
    const at = id & (this.#slots.length - 1)
    const slot = this.#slots[at]
    if (slot?.id === id) {
      this.#slots[at] = null
      this.#size -= 1
      return slot.value
    }
    const value = this.#aside.get(id)
    if (this.#aside.delete(id)) this.#size -= 1
    return value
  }

  clear(): void {
    this.#slots.fill(null)
    this.#aside.clear()
    this.#size = 0
  }

  /** In no particular order. */
  values(): T[] {
    const values = [...this.#aside.values()]
    for (const slot of this.#slots) if (slot) values.push(slot.value)
    return values
  }

  #put(slot: Slot<T>): void {
    const at = slot.id & (this.#slots.length - 1)
    const before = this.#slots[at]
    if (before) this.#aside.set(before.id, before.value)
    this.#slots[at] = slot
  }

  #grow(): void {
    const before = this.#slots
    this.#slots = new Array(before.length * 2).fill(null)
    for (const slot of before) if (slot) this.#put(slot)
  }
}
