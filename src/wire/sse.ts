import type { Bytes } from '../model/index.js'
import { concat, singleLine } from './edit.js'
import { Parts } from './parts.js'
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
  /**
   * The data of one event passed the bound and was dropped.
   * @param prefix its first bytes, at most 200
   * @param suffix the last bytes of its last line, at most 64
   */
  overflow(total: number, prefix: Bytes, suffix: Bytes): void
  /** The bound was passed; the end of the event may never come. */
  exceeded?(): void
}

const LF = 0x0a
const CR = 0x0d
const COLON = 0x3a
const SPACE = 0x20
const NEWLINE = Buffer.from('\n')
const PREFIX_BYTES = 200
const SUFFIX_BYTES = 64

/** Parses an event stream (WHATWG HTML, "Server-sent events") from chunks cut anywhere. Linear, and bounded. */
export class SseParser {
  lastEventId = ''
  readonly #line = new Parts()
  #afterCr = false
  #started = false
  #event = ''
  readonly #data = new Parts(NEWLINE)
  #hasId = false
  /** Set while an event is dropped. */
  #dropped: { total: number; readonly prefix: Bytes; suffix: Bytes } | null = null
  /** The line under way is beyond the bound. */
  #lineDropped = false

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
    this.#line.clear()
    this.#lineDropped = false
    this.#reset()
  }

  #keep(part: Bytes): void {
    if (part.length === 0) return
    if (this.#lineDropped) return this.#count(part)
    this.#line.push(part)
    if (this.#line.length <= this.maxBytes) return
    const line = this.#line.take()
    this.#lineDropped = true
    this.#drop(line, fieldValue(line))
  }

  /** From here to its end the event only leaves traces of itself. */
  #drop(bytes: Bytes, data: Bytes): void {
    if (this.#dropped) return this.#count(bytes)
    const first = this.#data.first ?? data
    const total = this.#data.length + bytes.length
    const suffix = concat(bytes.subarray(-SUFFIX_BYTES))
    this.#dropped = { total, prefix: concat(first.subarray(0, PREFIX_BYTES)), suffix }
    this.#data.clear()
    this.handlers.exceeded?.()
  }

  #count(part: Bytes): void {
    if (!this.#dropped || part.length === 0) return
    this.#dropped.total += part.length
    this.#dropped.suffix = concat(this.#dropped.suffix, part.subarray(-SUFFIX_BYTES)).subarray(-SUFFIX_BYTES)
  }

  #finishLine(last: Bytes): void {
    // The whole line in one piece is the usual case.
    if (this.#line.isEmpty && !this.#lineDropped && last.length <= this.maxBytes) return this.#ended(last)
    this.#keep(last)
    if (this.#lineDropped) {
      this.#lineDropped = false
      return
    }
    this.#ended(this.#line.take())
  }

  #ended(bytes: Bytes): void {
    let line = bytes
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
    if (this.#dropped || this.#data.length + value.length > this.maxBytes) return this.#drop(value, value)
    this.#data.push(value)
  }

  #dispatch(): void {
    if (this.#dropped) {
      const { total, prefix, suffix } = this.#dropped
      this.handlers.overflow(total, prefix, suffix)
    } else if (!this.#data.isEmpty) {
      const id = this.#hasId ? this.lastEventId : null
      this.handlers.event({ event: this.#event || 'message', data: this.#data.take(), id })
    }
    this.#reset()
  }

  #reset(): void {
    this.#event = ''
    this.#data.clear()
    this.#dropped = null
  }
}

/** The value of a field line whose end is not known. */
function fieldValue(line: Bytes): Bytes {
  const colon = line.indexOf(COLON)
  const value = line.subarray(colon + 1)
  return value[0] === SPACE ? value.subarray(1) : value
}

/** One event; the data is made a single line first, so that it cannot forge fields. */
export function encodeEvent(data: Bytes, options: { event?: string; id?: string } = {}): Buffer {
  const event = options.event === undefined ? '' : `event: ${options.event}\n`
  const id = options.id === undefined ? '' : `id: ${options.id}\n`
  return concat(event, id, 'data: ', singleLine(data), '\n\n')
}

export const SSE_KEEPALIVE: Bytes = Buffer.from(': keep-alive\n\n')
