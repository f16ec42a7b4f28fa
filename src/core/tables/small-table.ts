/** Values by any key, searched in a line: right for the few entries that one client has at a time. */
export class SmallTable<K, V> {
  readonly #keys: K[] = []
  readonly #values: V[] = []

  get size(): number {
    return this.#keys.length
  }

  has(key: K): boolean {
    return this.#keys.includes(key)
  }

  get(key: K): V | undefined {
    const at = this.#keys.indexOf(key)
    return at < 0 ? undefined : this.#values[at]
  }

  set(key: K, value: V): void {
    const at = this.#keys.indexOf(key)
    if (at >= 0) {
      this.#values[at] = value
      return
    }
    this.#keys.push(key)
    this.#values.push(value)
  }

  /** The last entry takes the place of the one that goes. */
  delete(key: K): V | undefined {
    const at = this.#keys.indexOf(key)
    if (at < 0) return undefined
    const value = this.#values[at]
    const lastKey = this.#keys.pop() as K
    const lastValue = this.#values.pop() as V
    if (at < this.#keys.length) {
      this.#keys[at] = lastKey
      this.#values[at] = lastValue
    }
    return value
  }

  values(): V[] {
    return [...this.#values]
  }

  clear(): void {
    this.#keys.length = 0
    this.#values.length = 0
  }
}
