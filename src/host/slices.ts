import type { Bytes } from '../model/index.js'

/** Takes one piece after the other from the bytes of a file. */
export class Slices {
  #at = 0

  constructor(private readonly bytes: Bytes) {}

  /** A copy: the file as a whole must not live as long as its smallest piece. Null when there is no such piece. */
  next(length: unknown): Bytes | null {
    if (!Number.isSafeInteger(length)) return null
    const end = this.#at + (length as number)
    if (end <= this.#at || end > this.bytes.length) return null
    const copy = Uint8Array.prototype.slice.call(this.bytes, this.#at, end)
    this.#at = end
    return Buffer.from(copy.buffer, copy.byteOffset, copy.length)
  }

  /** All was taken. */
  get done(): boolean {
    return this.#at === this.bytes.length
  }
}
