import type { Bytes } from '../model/index.js'

/** As many small pieces are joined to one, so that a message that comes byte by byte costs no object a byte. */
const MERGED = 1_024

/** The pieces of one message while it comes. Linear: each byte is copied at most twice, whatever the sizes. */
export class Parts {
  /** Bytes so far. */
  length = 0
  #parts: Bytes[] = []
  /** How many parts at the end were not joined yet. */
  #loose = 0

  /** @param between goes between any two parts that were pushed */
  constructor(private readonly between: Bytes | null = null) {}

  get isEmpty(): boolean {
    return this.#parts.length === 0
  }

  /** The first part, or what it was joined into. */
  get first(): Bytes | undefined {
    return this.#parts[0]
  }

  push(part: Bytes): void {
    this.length += part.length + (this.between && this.#parts.length > 0 ? this.between.length : 0)
    this.#parts.push(part)
    this.#loose += 1
    if (this.#loose < MERGED) return
    this.#parts.push(this.#joined(this.#parts.splice(-MERGED)))
    this.#loose = 0
  }

  /** Everything as one; empty afterwards. One part, the usual case, is not copied. */
  take(): Bytes {
    const parts = this.#parts
    this.clear()
    return parts.length === 1 ? (parts[0] as Bytes) : this.#joined(parts)
  }

  clear(): void {
    this.#parts = []
    this.#loose = 0
    this.length = 0
  }

  #joined(parts: readonly Bytes[]): Bytes {
    const { between } = this
    if (between === null) return Buffer.concat(parts)
    return Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [between, part])))
  }
}
