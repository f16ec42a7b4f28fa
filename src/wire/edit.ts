import type { Bytes, ObjectSlice } from '../model/index.js'
import { asBuffer } from './scan.js'

/** Raw JSON values by key; null removes the member. */
export type Edits = ReadonlyMap<string, Bytes | null>

const EMPTY: Edits = new Map()

/**
 * The object with members replaced or removed in place and others added at the end. Members that are not named keep
 * every byte, key text and white space around them included.
 * @param append an entry whose key exists replaces that member
 */
export function editObject(
  object: ObjectSlice,
  edits: Edits = EMPTY,
  append: ReadonlyArray<readonly [key: string, value: Bytes]> = [],
): Buffer {
  const { bytes, members } = object
  const parts: Bytes[] = [OPEN]
  const put = (...pieces: Bytes[]) => {
    if (parts.length > 1) parts.push(COMMA)
    parts.push(...pieces)
  }
  for (const member of members) {
    const added = append.length === 0 ? undefined : append.find(([key]) => key === member.key)
    const value = added ? added[1] : edits.get(member.key)
    if (value === null) continue
    if (value === undefined) put(bytes.subarray(member.keyStart, member.end))
    else put(bytes.subarray(member.keyStart, member.start), value)
  }
  for (const [key, value] of append) {
    if (!members.some(member => member.key === key)) put(Buffer.from(`${JSON.stringify(key)}:`), value)
  }
  parts.push(CLOSE)
  return Buffer.concat(parts)
}

const OPEN = Buffer.from('{')
const CLOSE = Buffer.from('}')
const COMMA = Buffer.from(',')

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** One allocation for all parts; strings are UTF-8. */
export function concat(...parts: (Bytes | string)[]): Buffer {
  let length = 0
  for (const part of parts) length += typeof part === 'string' ? Buffer.byteLength(part) : part.length
  const joined = Buffer.allocUnsafe(length)
  let at = 0
  for (const part of parts) {
    if (typeof part === 'string') at += joined.write(part, at)
    else {
      joined.set(part, at)
      at += part.length
    }
  }
  return joined
}

/**
 * Valid JSON has raw line breaks only between its tokens, where they mean nothing: they become spaces, so that the text
 * fits into a line or an SSE field. The same bytes when there are none.
 */
export function singleLine(bytes: Bytes): Bytes {
  const buffer = asBuffer(bytes)
  if (!buffer.includes(0x0a) && !buffer.includes(0x0d)) return bytes
  const copy = Buffer.from(buffer)
  for (let i = 0; i < copy.length; i += 1) if (copy[i] === 0x0a || copy[i] === 0x0d) copy[i] = 0x20
  return copy
}

/** @param id raw bytes of the id, or a number of our own */
export function resultMessage(id: Bytes | number, result: Bytes): Buffer {
  return concat('{"jsonrpc":"2.0","id":', idPart(id), ',"result":', result, '}')
}

export function errorMessage(id: Bytes | number | null, error: Bytes): Buffer {
  return concat('{"jsonrpc":"2.0","id":', id === null ? 'null' : idPart(id), ',"error":', error, '}')
}

export function requestMessage(id: Bytes | number, method: string, params: Bytes | null): Buffer {
  const head = `,"method":${JSON.stringify(method)}`
  if (params === null) return concat('{"jsonrpc":"2.0","id":', idPart(id), head, '}')
  return concat('{"jsonrpc":"2.0","id":', idPart(id), head, ',"params":', params, '}')
}

export function notificationMessage(method: string, params: Bytes | null): Buffer {
  const head = `{"jsonrpc":"2.0","method":${JSON.stringify(method)}`
  return params === null ? concat(head, '}') : concat(head, ',"params":', params, '}')
}

function idPart(id: Bytes | number): Bytes | string {
  return typeof id === 'number' ? String(id) : id
}
