import { type Bytes, LIMITS, type Member, type ObjectSlice, type Span } from '../model/index.js'

/** Bounds of one message; elements are JSON values and keys together. */
export interface ScanLimits {
  readonly maxDepth: number
  readonly maxElements: number
}

export const CLIENT_SCAN: ScanLimits = { maxDepth: LIMITS.jsonDepth, maxElements: LIMITS.jsonElements }
export const UPSTREAM_SCAN: ScanLimits = {
  maxDepth: LIMITS.jsonDepth,
  maxElements: LIMITS.upstreamJsonElements,
}
/** For text that was scanned before: its own bounds have been checked. */
const SCANNED: ScanLimits = { maxDepth: Number.POSITIVE_INFINITY, maxElements: Number.POSITIVE_INFINITY }

/** The bytes are no message. `id` is the request's own, where it could be read. */
export class WireError extends Error {
  constructor(
    readonly rpcCode: -32700 | -32600,
    message: string,
    readonly id: string | number | null = null,
  ) {
    super(message)
    this.name = 'WireError'
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const COLON = 0x3a
const COMMA = 0x2c

/**
 * A strict JSON reader over bytes (RFC 8259) that builds nothing. Its methods take the index where a value starts and
 * return the index after it; they throw WireError at the first byte that JSON.parse would refuse.
 */
export class JsonReader {
  #elements = 0
  #depth = 0

  constructor(
    readonly bytes: Bytes,
    readonly end: number,
    private readonly limits: ScanLimits,
  ) {}

  space(at: number): number {
    const { bytes, end } = this
    while (at < end) {
      const byte = bytes[at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break
      at += 1
    }
    return at
  }

  value(at: number): number {
    this.count()
    const byte = at < this.end ? this.bytes[at] : undefined
    switch (byte) {
      case QUOTE:
        return this.string(at)
      case OPEN_OBJECT:
        return this.object(at, null)
      case OPEN_ARRAY:
        return this.array(at, null)
      case 0x74:
        return this.literal(at, 'true')
      case 0x66:
        return this.literal(at, 'false')
      case 0x6e:
        return this.literal(at, 'null')
      default:
        return this.number(at)
    }
  }

  /** Counts one value or key against the bound. */
  count(): void {
    this.#elements += 1
    if (this.#elements > this.limits.maxElements) {
      throw new WireError(-32700, `The message has more than ${this.limits.maxElements} elements.`)
    }
  }

  /** Members are appended to `members` unless it is null. */
  object(at: number, members: Member[] | null): number {
    this.#enter()
    at = this.space(at + 1)
    if (this.bytes[at] === CLOSE_OBJECT && at < this.end) return this.#leave(at + 1)
    for (;;) {
      const keyStart = at
      if (this.bytes[at] !== QUOTE || at >= this.end) this.refuse(at, 'a key in quotes')
      this.count()
      const keyEnd = this.string(at)
      at = this.space(keyEnd)
      if (this.bytes[at] !== COLON || at >= this.end) this.refuse(at, '":"')
      const start = this.space(at + 1)
      const end = this.value(start)
      if (members) members.push({ key: decodeString(this.bytes, keyStart, keyEnd), keyStart, start, end })
      at = this.space(end)
      const byte = at < this.end ? this.bytes[at] : undefined
      if (byte === CLOSE_OBJECT) return this.#leave(at + 1)
      if (byte !== COMMA) this.refuse(at, '"," or "}"')
      at = this.space(at + 1)
    }
  }

  /** Element ranges are appended to `elements` unless it is null. */
  array(at: number, elements: Span[] | null): number {
    this.#enter()
    at = this.space(at + 1)
    if (this.bytes[at] === CLOSE_ARRAY && at < this.end) return this.#leave(at + 1)
    for (;;) {
      const start = at
      const end = this.value(start)
      if (elements) elements.push({ start, end })
      at = this.space(end)
      const byte = at < this.end ? this.bytes[at] : undefined
      if (byte === CLOSE_ARRAY) return this.#leave(at + 1)
      if (byte !== COMMA) this.refuse(at, '"," or "]"')
      at = this.space(at + 1)
    }
  }

  string(at: number): number {
    const { bytes, end } = this
    at += 1
    while (at < end) {
      const byte = bytes[at] as number
      if (byte === QUOTE) return at + 1
      if (byte === BACKSLASH) at = this.#escape(at)
      else if (byte < 0x20) this.refuse(at, 'no control character inside a string')
      else at += 1
    }
    return this.refuse(end, 'the end of a string')
  }

  #escape(at: number): number {
    const byte = at + 1 < this.end ? this.bytes[at + 1] : undefined
    switch (byte) {
      case QUOTE:
      case BACKSLASH:
      case 0x2f: // /
      case 0x62: // b
      case 0x66: // f
      case 0x6e: // n
      case 0x72: // r
      case 0x74: // t
        return at + 2
      case 0x75: // u
        for (let i = at + 2; i < at + 6; i += 1) {
          if (i >= this.end || !isHex(this.bytes[i] as number)) this.refuse(i, 'four hex digits')
        }
        return at + 6
      default:
        return this.refuse(at, 'a valid escape')
    }
  }

  number(at: number): number {
    const { bytes } = this
    if (bytes[at] === 0x2d) at += 1
    if (bytes[at] === 0x30 && at < this.end) at += 1
    else at = this.#digits(at)
    if (bytes[at] === 0x2e && at < this.end) at = this.#digits(at + 1)
    const byte = at < this.end ? bytes[at] : undefined
    if (byte === 0x65 || byte === 0x45) {
      const sign = bytes[at + 1]
      at = this.#digits(sign === 0x2b || sign === 0x2d ? at + 2 : at + 1)
    }
    return at
  }

  /** At least one digit. */
  #digits(at: number): number {
    const { bytes, end } = this
    const start = at
    while (at < end && (bytes[at] as number) >= 0x30 && (bytes[at] as number) <= 0x39) at += 1
    return at === start ? this.refuse(at, 'a value') : at
  }

  literal(at: number, word: string): number {
    for (let i = 0; i < word.length; i += 1) {
      if (at + i >= this.end || this.bytes[at + i] !== word.charCodeAt(i)) this.refuse(at, 'a value')
    }
    return at + word.length
  }

  refuse(at: number, expected: string): never {
    const where = at >= this.end ? 'the end of the message' : `byte ${at}`
    throw new WireError(-32700, `The message is not valid JSON: ${expected} was expected at ${where}.`)
  }

  #enter(): void {
    this.#depth += 1
    if (this.#depth > this.limits.maxDepth) {
      throw new WireError(-32700, `The message is nested more than ${this.limits.maxDepth} levels deep.`)
    }
  }

  #leave(at: number): number {
    this.#depth -= 1
    return at
  }
}

function isHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66)
}

/** The text of a JSON string that starts and ends with its quotes at these indices. */
function decodeString(bytes: Bytes, start: number, end: number): string {
  let plain = true
  for (let i = start + 1; i < end - 1; i += 1) {
    const byte = bytes[i] as number
    if (byte === BACKSLASH) return JSON.parse(asBuffer(bytes).toString('utf8', start, end)) as string
    if (byte >= 0x80) plain = false
  }
  return asBuffer(bytes).toString(plain ? 'latin1' : 'utf8', start + 1, end - 1)
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Bytes): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Checks a whole text, one value with white space around it. */
export function validateJson(bytes: Bytes, limits: ScanLimits): void {
  const reader = new JsonReader(bytes, bytes.length, limits)
  const end = reader.space(reader.value(reader.space(0)))
  if (end !== bytes.length) reader.refuse(end, 'nothing more')
}

/** The top-level members of the object in `span` (default: the whole), of text that was scanned before. */
export function objectAt(bytes: Bytes, span?: Span): ObjectSlice {
  const reader = new JsonReader(bytes, span?.end ?? bytes.length, SCANNED)
  const start = reader.space(span?.start ?? 0)
  if (bytes[start] !== OPEN_OBJECT) reader.refuse(start, 'an object')
  const members: Member[] = []
  const end = reader.object(start, members)
  return { bytes, span: { start, end }, members }
}

/** The elements of the array in `span` (default: the whole), of text that was scanned before. */
export function elementsAt(bytes: Bytes, span?: Span): Span[] {
  const reader = new JsonReader(bytes, span?.end ?? bytes.length, SCANNED)
  const start = reader.space(span?.start ?? 0)
  if (bytes[start] !== OPEN_ARRAY) reader.refuse(start, 'an array')
  const elements: Span[] = []
  reader.array(start, elements)
  return elements
}

/** The last member of that key, as JSON.parse would take it. */
export function member(object: ObjectSlice, key: string): Member | undefined {
  const { members } = object
  for (let i = members.length - 1; i >= 0; i -= 1) {
    const found = members[i]
    if (found?.key === key) return found
  }
  return undefined
}

/** The value when it is a string. */
export function stringAt(bytes: Bytes, span: Span): string | undefined {
  return bytes[span.start] === QUOTE ? decodeString(bytes, span.start, span.end) : undefined
}

export function parseAt(bytes: Bytes, span: Span): unknown {
  return JSON.parse(asBuffer(bytes).toString('utf8', span.start, span.end))
}

export type JsonType = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null'

export function typeAt(bytes: Bytes, span: Span): JsonType {
  switch (bytes[span.start]) {
    case OPEN_OBJECT:
      return 'object'
    case OPEN_ARRAY:
      return 'array'
    case QUOTE:
      return 'string'
    case 0x74:
    case 0x66:
      return 'boolean'
    case 0x6e:
      return 'null'
    default:
      return 'number'
  }
}

/** The same memory, no copy. */
export function slice(bytes: Bytes, span: Span): Bytes {
  return bytes.subarray(span.start, span.end)
}
