import type { Bytes } from '../model/index.js'
import { concat, singleLine } from './edit.js'
import { Parts } from './parts.js'
import { asBuffer } from './scan.js'

export interface LineHandlers {
  line(bytes: Bytes): void
  /**
   * A line over the bound was dropped up to its end.
   * @param prefix its first bytes, at most 200
   * @param suffix its last bytes, at most 64
   */
  overflow(prefix: Bytes, total: number, suffix: Bytes): void
  /** The bound was passed, and again with each further time its length; the end of the line may never come. */
  exceeded?(prefix: Bytes, total: number): void
}

const LF = 0x0a
const CR = 0x0d
const PREFIX_BYTES = 200
const SUFFIX_BYTES = 64

/**
 * Cuts a byte stream into lines. Linear: each chunk is searched once, the parts of a line are joined once. LF and CRLF
 * end a line; empty lines and a byte order mark at the very start are skipped; a last line without an end is dropped.
 */
export class LineSplitter {
  readonly #parts = new Parts()
  /** Bytes of the line that is being dropped; 0 = none. */
  #dropping = 0
  #prefix: Bytes = EMPTY
  #suffix: Bytes = EMPTY
  #started = false

  constructor(
    private readonly maxBytes: number,
    private readonly handlers: LineHandlers,
  ) {}

  get bufferedBytes(): number {
    return this.#parts.length
  }

  push(chunk: Bytes): void {
    const bytes = asBuffer(chunk)
    let start = 0
    while (start < bytes.length) {
      const at = bytes.indexOf(LF, start)
      if (at < 0) {
        this.#keep(bytes.subarray(start))
        return
      }
      this.#finish(bytes.subarray(start, at))
      start = at + 1
    }
  }

  end(): void {
    this.#parts.clear()
    this.#dropping = 0
  }

  #keep(part: Bytes): void {
    if (this.#dropping > 0) return this.#drop(part)
    this.#parts.push(part)
    if (this.#parts.length <= this.maxBytes) return
    const whole = this.#parts.take()
    // Copies: a slice would keep the whole buffer alive.
    this.#prefix = concat(whole.subarray(0, PREFIX_BYTES))
    this.#suffix = concat(whole.subarray(-SUFFIX_BYTES))
    this.#dropping = whole.length
    this.handlers.exceeded?.(this.#prefix, this.#dropping)
  }

  #drop(part: Bytes): void {
    const before = this.#dropping
    this.#dropping += part.length
    this.#suffix =
      part.length >= SUFFIX_BYTES
        ? concat(part.subarray(-SUFFIX_BYTES))
        : concat(this.#suffix, part).subarray(-SUFFIX_BYTES)
    if (Math.floor(this.#dropping / this.maxBytes) > Math.floor(before / this.maxBytes))
      this.handlers.exceeded?.(this.#prefix, this.#dropping)
  }

  #finish(last: Bytes): void {
    // The whole line in one piece is the usual case.
    if (this.#parts.isEmpty && this.#dropping === 0 && last.length <= this.maxBytes) return this.#line(last)
    this.#keep(last)
    if (this.#dropping > 0) {
      const total = this.#dropping
      this.#dropping = 0
      this.handlers.overflow(this.#prefix, total, this.#suffix)
      return
    }
    this.#line(this.#parts.take())
  }

  #line(bytes: Bytes): void {
    const line = this.#trim(bytes)
    if (line.length > 0) this.handlers.line(line)
  }

  #trim(line: Bytes): Bytes {
    const first = !this.#started
    this.#started = true
    const start = first && line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? 3 : 0
    const end = line[line.length - 1] === CR ? line.length - 1 : line.length
    return start === 0 && end === line.length ? line : line.subarray(start, end)
  }
}

const EMPTY: Bytes = Buffer.alloc(0)

/** One message as one line. */
export function encodeLine(message: Bytes): Buffer {
  return concat(singleLine(message), '\n')
}
