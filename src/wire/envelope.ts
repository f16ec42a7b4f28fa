import { type Bytes, LIMITS, type Member, type ObjectSlice, type Span } from '../model/index.js'
import { asBuffer, JsonReader, objectAt, type ScanLimits, stringAt, typeAt, WireError } from './scan.js'

export type JsonRpcId = string | number

/** What one JSON-RPC 2.0 message says about itself; payloads are ranges of its bytes. */
export interface Envelope {
  readonly bytes: Bytes
  readonly kind: 'request' | 'notification' | 'result' | 'error'
  /** Null for notifications, and for errors that answer no readable request. */
  readonly id: JsonRpcId | null
  /** The id as it was written, for echoing it exactly. */
  readonly idSpan: Span | null
  readonly method: string | null
  readonly params: ObjectSlice | null
  readonly result: Span | null
  readonly error: Span | null
  /** `params._meta`. */
  readonly meta: ObjectSlice | null
  /** `params.name` when it is a string. */
  readonly name: string | null
  /** `params.uri` when it is a string. */
  readonly uri: string | null
}

const OPEN_OBJECT = 0x7b
const NULL_BYTES = Buffer.from('null')
/** Scans one message in one pass. Unknown envelope members are passed over. */
export function scanEnvelope(bytes: Bytes, limits: ScanLimits): Envelope {
  const reader = new JsonReader(bytes, bytes.length, limits)
  let at = reader.space(byteOrderMark(bytes))
  if (bytes[at] !== OPEN_OBJECT) {
    // Not JSON at all is another fault than JSON of another shape.
    const end = reader.space(reader.value(at))
    if (end !== bytes.length) reader.refuse(end, 'nothing more')
    throw new WireError(-32600, 'A message must be a JSON object.')
  }
  const members: Member[] = []
  at = reader.space(reader.object(at, members))
  if (at !== bytes.length) reader.refuse(at, 'nothing more')
  return readEnvelope(bytes, members)
}

function byteOrderMark(bytes: Bytes): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
}

/** The members that mean something; two of a kind could be read differently by two parsers. */
interface Found {
  jsonrpc: Member | null
  id: Member | null
  method: Member | null
  params: Member | null
  result: Member | null
  error: Member | null
}

function readEnvelope(bytes: Bytes, members: readonly Member[]): Envelope {
  const found: Found = { jsonrpc: null, id: null, method: null, params: null, result: null, error: null }
  let id: JsonRpcId | null = null
  for (const member of members) {
    switch (member.key) {
      case 'id':
        id = readId(bytes, member)
        if (found.id) throw duplicate(member, id)
        found.id = member
        break
      case 'jsonrpc':
      case 'method':
      case 'params':
      case 'result':
      case 'error':
        if (found[member.key]) throw duplicate(member, id)
        found[member.key] = member
    }
  }
  const { method, result, error } = found
  if (!found.jsonrpc || stringAt(bytes, found.jsonrpc) !== '2.0')
    throw invalid('The message must say "jsonrpc":"2.0".', id)
  if (found.id && id === null && typeAt(bytes, found.id) !== 'null') throw invalid(ID_RULE, id)
  if (method) {
    if (result || error) throw invalid('A message with a method cannot have a result or an error.', id)
    return readCall(bytes, id, found.id, method, found.params)
  }
  if (result && error) throw invalid('An answer cannot have both a result and an error.', id)
  if (!result && !error) throw invalid('The message has neither a method nor a result nor an error.', id)
  if (!found.id || (result && id === null)) throw invalid('An answer must carry the id of its request.', id)
  return { ...NO_CALL, bytes, kind: result ? 'result' : 'error', id, idSpan: found.id, result, error }
}

function invalid(message: string, id: JsonRpcId | null): WireError {
  return new WireError(-32600, message, id)
}

function duplicate({ key }: Member, id: JsonRpcId | null): WireError {
  return invalid(`The message has two members "${key}".`, id)
}

const NO_CALL = { method: null, params: null, meta: null, name: null, uri: null }
const ID_RULE = `An id must be a whole number or a string of at most ${LIMITS.idBytes} bytes.`

/** Null for JSON null and for anything that cannot be an id. */
function readId(bytes: Bytes, span: Span): JsonRpcId | null {
  const text = stringAt(bytes, span)
  if (text !== undefined) return span.end - span.start - 2 <= LIMITS.idBytes ? text : null
  const number = Number(asBuffer(bytes).toString('latin1', span.start, span.end))
  return typeAt(bytes, span) === 'number' && Number.isSafeInteger(number) ? number : null
}

function readCall(
  bytes: Bytes,
  id: JsonRpcId | null,
  idMember: Member | null,
  methodMember: Member,
  paramsMember: Member | null,
): Envelope {
  const method = stringAt(bytes, methodMember)
  if (method === undefined) throw invalid('The method must be a string.', id)
  if (idMember && id === null) throw invalid(ID_RULE, id)
  const kind = idMember ? 'request' : 'notification'
  const base = { bytes, kind, id, idSpan: idMember, method, result: null, error: null } as const
  if (!paramsMember) return { ...base, params: null, meta: null, name: null, uri: null }
  if (bytes[paramsMember.start] !== OPEN_OBJECT) throw invalid('params must be an object.', id)
  const params = objectAt(bytes, paramsMember)
  const { name, uri, meta } = readNamed(params, id)
  if (meta && bytes[meta.start] !== OPEN_OBJECT) throw invalid('params._meta must be an object.', id)
  return {
    ...base,
    params,
    meta: meta && objectAt(bytes, meta),
    name: name && (stringAt(bytes, name) ?? null),
    uri: uri && (stringAt(bytes, uri) ?? null),
  }
}

interface Named {
  name: Member | null
  uri: Member | null
  _meta: Member | null
  arguments: Member | null
}

function readNamed({ members }: ObjectSlice, id: JsonRpcId | null) {
  const named: Named = { name: null, uri: null, _meta: null, arguments: null }
  for (const member of members) {
    switch (member.key) {
      case 'name':
      case 'uri':
      case '_meta':
      case 'arguments':
        if (named[member.key]) throw invalid(`params has two members "${member.key}".`, id)
        named[member.key] = member
    }
  }
  return { name: named.name, uri: named.uri, meta: named._meta }
}

/** True when the first byte that is not white space opens an array. */
export function looksLikeBatch(bytes: Bytes): boolean {
  let at = byteOrderMark(bytes)
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at += 1
  return bytes[at] === 0x5b
}

/** The messages of a batch, each still to be scanned. */
export function splitBatch(bytes: Bytes, max: number): Bytes[] {
  const limits: ScanLimits = { maxDepth: LIMITS.jsonDepth, maxElements: LIMITS.upstreamJsonElements }
  const reader = new JsonReader(bytes, bytes.length, limits)
  const elements: Span[] = []
  const start = reader.space(byteOrderMark(bytes))
  if (bytes[start] !== 0x5b) throw new WireError(-32600, 'A batch must be a JSON array.')
  const end = reader.space(reader.array(start, elements))
  if (end !== bytes.length) reader.refuse(end, 'nothing more')
  if (elements.length === 0) throw new WireError(-32600, 'A batch must not be empty.')
  if (elements.length > max) throw new WireError(-32600, `A batch may hold at most ${max} messages.`)
  return elements.map(span => bytes.subarray(span.start, span.end))
}

/** The id for an answer, as the request wrote it. */
export function idBytes(envelope: Envelope): Bytes {
  return envelope.idSpan ? envelope.bytes.subarray(envelope.idSpan.start, envelope.idSpan.end) : NULL_BYTES
}
