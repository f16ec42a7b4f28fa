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
/** Keys whose duplicates two parsers could read differently. */
const ENVELOPE_KEYS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
const PARAMS_KEYS = new Set(['name', 'uri', '_meta', 'arguments'])

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

function readEnvelope(bytes: Bytes, members: readonly Member[]): Envelope {
  const found = new Map<string, Member>()
  let id: JsonRpcId | null = null
  for (const member of members) {
    if (!ENVELOPE_KEYS.has(member.key)) continue
    if (member.key === 'id') id = readId(bytes, member)
    if (found.has(member.key)) throw new WireError(-32600, `The message has two members "${member.key}".`, id)
    found.set(member.key, member)
  }
  const invalid = (message: string): never => {
    throw new WireError(-32600, message, id)
  }
  const version = found.get('jsonrpc')
  if (!version || stringAt(bytes, version) !== '2.0') invalid('The message must say "jsonrpc":"2.0".')
  const idMember = found.get('id')
  if (idMember && id === null && typeAt(bytes, idMember) !== 'null') invalid(ID_RULE)
  const method = found.get('method')
  const result = found.get('result') ?? null
  const error = found.get('error') ?? null
  if (method) {
    if (result || error) invalid('A message with a method cannot have a result or an error.')
    return readCall(bytes, id, idMember, method, found.get('params'), invalid)
  }
  if (result && error) invalid('An answer cannot have both a result and an error.')
  if (!result && !error) invalid('The message has neither a method nor a result nor an error.')
  if (!idMember || (result && id === null)) invalid('An answer must carry the id of its request.')
  return {
    ...NO_CALL,
    bytes,
    kind: result ? 'result' : 'error',
    id,
    idSpan: idMember ?? null,
    result,
    error,
  }
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
  idMember: Member | undefined,
  methodMember: Member,
  paramsMember: Member | undefined,
  invalid: (message: string) => never,
): Envelope {
  const method = stringAt(bytes, methodMember)
  if (method === undefined) return invalid('The method must be a string.')
  if (idMember && id === null) return invalid(ID_RULE)
  const kind = idMember ? 'request' : 'notification'
  const base = { bytes, kind, id, idSpan: idMember ?? null, method, result: null, error: null } as const
  if (!paramsMember) return { ...base, params: null, meta: null, name: null, uri: null }
  if (bytes[paramsMember.start] !== OPEN_OBJECT) return invalid('params must be an object.')
  const params = objectAt(bytes, paramsMember)
  let meta: ObjectSlice | null = null
  let name: string | null = null
  let uri: string | null = null
  const seen = new Set<string>()
  for (const entry of params.members) {
    if (!PARAMS_KEYS.has(entry.key)) continue
    if (seen.has(entry.key)) return invalid(`params has two members "${entry.key}".`)
    seen.add(entry.key)
    if (entry.key === 'name') name = stringAt(bytes, entry) ?? null
    else if (entry.key === 'uri') uri = stringAt(bytes, entry) ?? null
    else if (entry.key === '_meta') {
      if (bytes[entry.start] !== OPEN_OBJECT) return invalid('params._meta must be an object.')
      meta = objectAt(bytes, entry)
    }
  }
  return { ...base, params, meta, name, uri }
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
