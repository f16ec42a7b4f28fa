import { type Bytes, type Call, EMPTY_OBJECT, type GatewayError, type Outcome } from '../../model/index.js'
import type { Offer } from '../../runtime/ports.js'
import { asBuffer, editObject, json, member, objectAt, parseAt, stringAt, typeAt } from '../../wire/index.js'
import { encodeFailure, type Final, rpcError } from '../failures.js'

const SERVER_INFO = 'io.modelcontextprotocol/serverInfo'
const COMPLETE = Buffer.from('"complete"')

/** What a request asked, as far as its answer depends on it. */
export type Asked = Pick<Call, 'method' | 'params'>

export type ServerInfo = Offer['serverInfo']

/** `_meta` of every result that the gateway makes itself. */
export function modernMeta(info: ServerInfo): Record<string, unknown> {
  return { [SERVER_INFO]: { name: info.name, title: info.title, version: info.version } }
}

/** An outcome as a modern client reads it. */
export function encodeModern(call: Call, outcome: Outcome, info: ServerInfo): Final | null {
  if (outcome.kind === 'cancelled') return null
  if (outcome.kind !== 'answered') {
    const final = encodeModernFailure(call.method, outcome.error, info)
    const uri = requestedUri(call)
    if (outcome.error.code !== 'NOT_FOUND' || uri === null || 'result' in final) return final
    return { error: aboutUri(final.error, -32602, uri) }
  }
  const { reply, era, upstream } = outcome
  if ('error' in reply) return modernError(call, reply.error, upstream)
  const { method } = call
  return {
    result: era === 'modern' ? restamp(method, reply.result, info) : upgrade(method, reply.result, info),
  }
}

export function encodeModernFailure(method: string, error: GatewayError, info: ServerInfo): Final {
  const failure = { 'dev.holdfast/failure': error.toFailure() }
  return encodeFailure(method, error, { resultType: 'complete', _meta: { ...modernMeta(info), ...failure } })
}

/**
 * A server's identity belongs to its own hop: it moves aside and ours takes its place. What this era requires and the
 * server left out is filled in with what its absence means.
 */
function restamp(method: string, result: Bytes, info: ServerInfo): Bytes {
  if (!isObject(result)) return result
  const object = objectAt(result)
  const append: [string, Bytes][] = [['_meta', stampedMeta(result, member(object, '_meta'), info)]]
  const type = member(object, 'resultType')
  if (!type) append.push(['resultType', COMPLETE])
  const isComplete = !type || stringAt(result, type) === 'complete'
  if (method === 'resources/read' && isComplete) {
    if (!member(object, 'ttlMs')) append.push(['ttlMs', ZERO])
    if (!member(object, 'cacheScope')) append.push(['cacheScope', PRIVATE])
  }
  return editObject(object, undefined, append)
}

/** A legacy result gets what this era requires of every result. */
function upgrade(method: string, result: Bytes, info: ServerInfo): Bytes {
  if (!isObject(result)) return result
  const object = objectAt(result)
  const append: [string, Bytes][] = [['_meta', stampedMeta(result, member(object, '_meta'), info)]]
  if (!member(object, 'resultType')) append.push(['resultType', COMPLETE])
  if (method === 'resources/read') append.push(['ttlMs', ZERO], ['cacheScope', PRIVATE])
  return editObject(object, undefined, append)
}

const ZERO = Buffer.from('0')
const PRIVATE = Buffer.from('"private"')

function stampedMeta(
  bytes: Bytes,
  span: { start: number; end: number } | undefined,
  info: ServerInfo,
): Bytes {
  const ours = json({ name: info.name, title: info.title, version: info.version })
  const meta = objectAt(
    span && typeAt(bytes, span) === 'object' ? bytes.subarray(span.start, span.end) : EMPTY_OBJECT,
  )
  const theirs = member(meta, SERVER_INFO)
  const append: [string, Bytes][] = [[SERVER_INFO, ours]]
  if (theirs) append.push(['dev.holdfast/server', Buffer.from(meta.bytes.subarray(theirs.start, theirs.end))])
  return editObject(meta, undefined, append)
}

export function isObject(bytes: Bytes): boolean {
  let at = 0
  while (at < bytes.length && (bytes[at] ?? 0) <= 0x20) at += 1
  return bytes[at] === 0x7b
}

/** Codes of a server that speak of its own hop, or that this era does not have, are not passed on as they are. */
function modernError(call: Call, error: Bytes, upstream: string): Final {
  const code = codeOf(error)
  if (code === -32021) return { error, status: 400 }
  const uri = requestedUri(call)
  if (uri !== null && (code === -32002 || (code === -32602 && namesUri(error)))) {
    return { error: aboutUri(error, -32602, uri) }
  }
  if (code === -32002) return { error: withCode(error, -32602) }
  if (code === -32042 || (code !== null && code <= -32020 && code >= -32099)) {
    return {
      error: rpcError(-32603, `${upstream} refused the request: ${messageOf(error)}`, { upstream, code }),
    }
  }
  return { error }
}

export function codeOf(error: Bytes): number | null {
  const found = isObject(error) ? member(objectAt(error), 'code') : undefined
  const code = found ? parseAt(error, found) : null
  return typeof code === 'number' ? code : null
}

export function messageOf(error: Bytes): string {
  const found = isObject(error) ? member(objectAt(error), 'message') : undefined
  return (found && stringAt(error, found)) ?? 'no message'
}

/** The resource that a read or a subscription names, under its public URI; null for every other method. */
export function requestedUri({ method, params }: Asked): string | null {
  const names = method === 'resources/read' || method === 'resources/subscribe'
  const found = names && params ? member(params, 'uri') : undefined
  return (found && params && stringAt(params.bytes, found)) ?? null
}

/** "Not found" is told by the URI coming back in `data`, in the server's own form of it. */
export function namesUri(error: Bytes): boolean {
  const data = member(objectAt(error), 'data')
  if (!data || typeAt(error, data) !== 'object') return false
  const uri = member(objectAt(error, data), 'uri')
  return uri !== undefined && typeAt(error, uri) === 'string'
}

/** "Not found" in the form of an era: its code, and in `data` the URI as the client knows it. */
export function aboutUri(error: Bytes, code: number, uri: string): Bytes {
  const object = objectAt(error)
  const data = member(object, 'data')
  const known = objectAt(
    data && typeAt(error, data) === 'object' ? error.subarray(data.start, data.end) : EMPTY_OBJECT,
  )
  const about = editObject(known, undefined, [['uri', json(uri)]])
  return editObject(object, new Map([['code', Buffer.from(String(code))]]), [['data', about]])
}

export function withCode(error: Bytes, code: number): Bytes {
  return editObject(objectAt(error), new Map([['code', Buffer.from(String(code))]]))
}

/** Progress and log notifications with the client's own token in place of the upstream hop's. */
export function retoken(params: Bytes, token: Bytes): Bytes {
  return editObject(objectAt(params), new Map([['progressToken', token]]))
}

export function mentions(bytes: Bytes, text: string): boolean {
  return asBuffer(bytes).includes(text)
}

/** `execution` belonged to the tasks of the era before. */
export function modernTool(tool: Bytes): Bytes {
  if (!mentions(tool, '"execution"')) return tool
  const object = objectAt(tool)
  return member(object, 'execution') ? editObject(object, new Map([['execution', null]])) : tool
}
