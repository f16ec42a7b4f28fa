import type { Bytes } from '../model/index.js'
import { concat, singleLine } from './edit.js'
import { asBuffer } from './scan.js'

export interface LineHandlers {
  line(bytes: Bytes): void
  /** A line over the bound was dropped up to its end; `prefix` is its first bytes, at most 200. */
  overflow(prefix: Bytes, total: number): void
}

const LF = 0x0a
const CR = 0x0d
const PREFIX_BYTES = 200

/**
 * Cuts a byte stream into lines. Linear: each chunk is searched once, the parts of a line are joined once. LF and CRLF
 * end a line; empty lines and a byte order mark at the very start are skipped; a last line without an end is dropped.
 */
export class LineSplitter {
  #parts: Bytes[] = []
  #buffered = 0
  /** Bytes of the line that is being dropped; 0 = none. */
  #dropping = 0
  #prefix: Bytes = EMPTY
  #started = false

  constructor(
    private readonly maxBytes: number,
    private readonly handlers: LineHandlers,
  ) {}

  get bufferedBytes(): number {
    return this.#buffered
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
    this.#parts = []
    this.#buffered = 0
    this.#dropping = 0
  }

  #keep(part: Bytes): void {
    if (this.#dropping > 0) {
      this.#dropping += part.length
      return
    }
    this.#parts.push(part)
    this.#buffered += part.length
    if (this.#buffered <= this.maxBytes) return
    this.#prefix = concat(...this.#parts.map(bytes => bytes.subarray(0, PREFIX_BYTES)).slice(0, PREFIX_BYTES))
    this.#dropping = this.#buffered
    this.#parts = []
    this.#buffered = 0
  }

  #finish(last: Bytes): void {
    this.#keep(last)
    if (this.#dropping > 0) {
      const total = this.#dropping
      this.#dropping = 0
      this.handlers.overflow(this.#prefix.subarray(0, PREFIX_BYTES), total)
      return
    }
    const parts = this.#parts
    const line = this.#trim(parts.length === 1 ? (parts[0] as Bytes) : Buffer.concat(parts, this.#buffered))
    this.#parts = []
    this.#buffered = 0
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
