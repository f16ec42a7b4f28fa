import type { Bytes } from '../model/index.js'
import { concat, singleLine } from './edit.js'
import { asBuffer } from './scan.js'

export interface SseEvent {
  /** `message` where the stream names none. */
  readonly event: string
  readonly data: Bytes
  /** The last event id of the stream so far; null before the first. */
  readonly id: string | null
}

export interface SseHandlers {
  event(event: SseEvent): void
  retry(ms: number): void
  /** The data of one event passed the bound and was dropped. */
  overflow(total: number): void
}

const LF = 0x0a
const CR = 0x0d
const COLON = 0x3a
const SPACE = 0x20
const NEWLINE = Buffer.from('\n')

/** Parses an event stream (WHATWG HTML, "Server-sent events") from chunks cut anywhere. Linear, and bounded. */
export class SseParser {
  lastEventId = ''
  #line: Bytes[] = []
  #lineBytes = 0
  #afterCr = false
  #started = false
  #event = ''
  #data: Bytes[] = []
  #dataBytes = 0
  #hasId = false
  #tooLarge = false

  constructor(
    private readonly maxBytes: number,
    private readonly handlers: SseHandlers,
  ) {}

  push(chunk: Bytes): void {
    const bytes = asBuffer(chunk)
    let start = 0
    if (this.#afterCr && bytes.length > 0) {
      if (bytes[0] === LF) start = 1
      this.#afterCr = false
    }
    let lf = bytes.indexOf(LF, start)
    let cr = bytes.indexOf(CR, start)
    while (lf >= 0 || cr >= 0) {
      const at = lf < 0 || (cr >= 0 && cr < lf) ? cr : lf
      this.#finishLine(bytes.subarray(start, at))
      start = at + 1
      if (at === cr) {
        if (start === bytes.length) this.#afterCr = true
        else if (bytes[start] === LF) start += 1
      }
      if (lf >= 0 && lf < start) lf = bytes.indexOf(LF, start)
      if (cr >= 0 && cr < start) cr = bytes.indexOf(CR, start)
    }
    this.#keep(bytes.subarray(start))
  }

  /** An event without its empty line at the end is dropped, as the standard wants. */
  end(): void {
    this.#line = []
    this.#lineBytes = 0
    this.#reset()
  }

  #keep(part: Bytes): void {
    if (part.length === 0) return
    this.#lineBytes += part.length
    if (this.#lineBytes > this.maxBytes) {
      this.#tooLarge = true
      this.#line = []
      return
    }
    this.#line.push(part)
  }

  #finishLine(last: Bytes): void {
    this.#keep(last)
    const length = this.#lineBytes
    const parts = this.#line
    this.#line = []
    this.#lineBytes = 0
    if (length > this.maxBytes) {
      this.#dataBytes += length
      return
    }
    let line: Bytes = parts.length === 1 ? (parts[0] as Bytes) : Buffer.concat(parts, length)
    if (!this.#started) {
      this.#started = true
      if (line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf) line = line.subarray(3)
    }
    if (line.length === 0) this.#dispatch()
    else this.#field(line)
  }

  #field(line: Bytes): void {
    const colon = line.indexOf(COLON)
    if (colon === 0) return
    const name = asBuffer(line).toString('latin1', 0, colon < 0 ? line.length : colon)
    let value = colon < 0 ? line.subarray(line.length) : line.subarray(colon + 1)
    if (value[0] === SPACE) value = value.subarray(1)
    switch (name) {
      case 'data':
        return this.#addData(value)
      case 'event':
        this.#event = asBuffer(value).toString('utf8')
        return
      case 'id':
        if (value.includes(0)) return
        this.lastEventId = asBuffer(value).toString('utf8')
        this.#hasId = true
        return
      case 'retry': {
        const text = asBuffer(value).toString('latin1')
        if (/^\d+$/.test(text)) this.handlers.retry(Number(text))
        return
      }
    }
  }

  #addData(value: Bytes): void {
    this.#dataBytes += value.length + 1
    if (this.#dataBytes - 1 > this.maxBytes) {
      this.#tooLarge = true
      this.#data = []
    }
    if (!this.#tooLarge) this.#data.push(value)
  }

  #dispatch(): void {
    if (this.#tooLarge) this.handlers.overflow(this.#dataBytes)
    else if (this.#data.length > 0) {
      const id = this.#hasId ? this.lastEventId : null
      this.handlers.event({ event: this.#event || 'message', data: joinLines(this.#data), id })
    }
    this.#reset()
  }

  #reset(): void {
    this.#event = ''
    this.#data = []
    this.#dataBytes = 0
    this.#tooLarge = false
  }
}

function joinLines(lines: readonly Bytes[]): Bytes {
  if (lines.length === 1) return lines[0] as Bytes
  return Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [NEWLINE, line])))
}

/** One event; the data is made a single line first, so that it cannot forge fields. */
export function encodeEvent(data: Bytes, options: { event?: string; id?: string } = {}): Buffer {
  const event = options.event === undefined ? '' : `event: ${options.event}\n`
  const id = options.id === undefined ? '' : `id: ${options.id}\n`
  return concat(event, id, 'data: ', singleLine(data), '\n\n')
}

export const SSE_KEEPALIVE: Bytes = Buffer.from(': keep-alive\n\n')
