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

/** Explicit fields and cases: a look-up by key would be the slowest part of reading a small message. */
function readEnvelope(bytes: Bytes, members: readonly Member[]): Envelope {
  let version: Member | null = null
  let idMember: Member | null = null
  let method: Member | null = null
  let params: Member | null = null
  let result: Member | null = null
  let error: Member | null = null
  let id: JsonRpcId | null = null
  for (const member of members) {
    switch (member.key) {
      case 'jsonrpc':
        version = once(version, member, id)
        break
      case 'id':
        idMember = once(idMember, member, id)
        id = readId(bytes, member)
        break
      case 'method':
        method = once(method, member, id)
        break
      case 'params':
        params = once(params, member, id)
        break
      case 'result':
        result = once(result, member, id)
        break
      case 'error':
        error = once(error, member, id)
    }
  }
  if (!version || stringAt(bytes, version) !== '2.0')
    throw invalid('The message must say "jsonrpc":"2.0".', id)
  if (idMember && id === null && typeAt(bytes, idMember) !== 'null') throw invalid(ID_RULE, id)
  if (!method) return readAnswer(bytes, id, idMember, result, error)
  if (result || error) throw invalid('A message with a method cannot have a result or an error.', id)
  return readCall(bytes, id, idMember, method, params)
}

/** Two members of one name could be read differently by two parsers. */
function once(before: Member | null, member: Member, id: JsonRpcId | null, where = 'The message'): Member {
  if (before) throw invalid(`${where} has two members "${member.key}".`, id)
  return member
}

function readAnswer(
  bytes: Bytes,
  id: JsonRpcId | null,
  idSpan: Member | null,
  result: Member | null,
  error: Member | null,
): Envelope {
  if (result && error) throw invalid('An answer cannot have both a result and an error.', id)
  if (!result && !error) throw invalid('The message has neither a method nor a result nor an error.', id)
  if (!idSpan || (result && id === null)) throw invalid('An answer must carry the id of its request.', id)
  const kind = result ? 'result' : 'error'
  return {
    bytes,
    kind,
    id,
    idSpan,
    method: null,
    params: null,
    result,
    error,
    meta: null,
    name: null,
    uri: null,
  }
}

function invalid(message: string, id: JsonRpcId | null): WireError {
  return new WireError(-32600, message, id)
}

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
  const envelope: Mutable<Envelope> = {
    bytes,
    kind: idMember ? 'request' : 'notification',
    id,
    idSpan: idMember,
    method,
    params: null,
    result: null,
    error: null,
    meta: null,
    name: null,
    uri: null,
  }
  if (!paramsMember) return envelope
  if (bytes[paramsMember.start] !== OPEN_OBJECT) throw invalid('params must be an object.', id)
  envelope.params = objectAt(bytes, paramsMember)
  readParams(envelope, envelope.params)
  return envelope
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

function readParams(envelope: Mutable<Envelope>, { members }: ObjectSlice): void {
  const { bytes, id } = envelope
  let name: Member | null = null
  let uri: Member | null = null
  let meta: Member | null = null
  let args: Member | null = null
  for (const member of members) {
    switch (member.key) {
      case 'name':
        name = once(name, member, id, 'params')
        break
      case 'uri':
        uri = once(uri, member, id, 'params')
        break
      case '_meta':
        meta = once(meta, member, id, 'params')
        break
      case 'arguments':
        args = once(args, member, id, 'params')
    }
  }
  if (name) envelope.name = stringAt(bytes, name) ?? null
  if (uri) envelope.uri = stringAt(bytes, uri) ?? null
  if (!meta) return
  if (bytes[meta.start] !== OPEN_OBJECT) throw invalid('params._meta must be an object.', id)
  envelope.meta = objectAt(bytes, meta)
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
