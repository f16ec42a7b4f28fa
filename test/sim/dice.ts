/** Seeded randomness (sfc32). Each label has a stream of its own, so that more draws in one place move nothing elsewhere. */
export class Dice {
  #a = 0
  #b = 0
  #c = 0
  #d = 1

  constructor(seed: number, label: string) {
    let hash = 2_166_136_261 ^ seed
    const mix = (value: number) => {
      hash = Math.imul(hash ^ value, 16_777_619)
      hash ^= hash >>> 15
      return hash | 0
    }
    for (const char of label) mix(char.charCodeAt(0))
    this.#a = mix(seed)
    this.#b = mix(seed >>> 16)
    this.#c = mix(label.length)
    for (let i = 0; i < 12; i += 1) this.next()
  }

  /** Uniform in [0, 1). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return (sum >>> 0) / 4_294_967_296
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** A whole number in [least, most]. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)] as T
  }

  /** One key of a table of weights. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][]
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) {
      left -= weight
      if (left < 0) return key
    }
    return (entries.at(-1) as [K, number])[0]
  }
}
