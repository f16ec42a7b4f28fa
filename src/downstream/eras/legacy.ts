import type { Bytes, GatewayError, Outcome } from '../../model/index.js'
import { editObject, elementsAt, member, objectAt, stringAt, typeAt } from '../../wire/index.js'
import { encodeFailure, type Final, rpcError, toolErrorText } from '../failures.js'
import {
  type Asked,
  aboutUri,
  codeOf,
  isObject,
  mentions,
  messageOf,
  namesUri,
  requestedUri,
} from './modern.js'

/** An outcome as a legacy client reads it; a legacy server's answer passes byte for byte. */
export function encodeLegacy(call: Asked, outcome: Outcome): Final | null {
  if (outcome.kind === 'cancelled') return null
  if (outcome.kind !== 'answered') return legacyFailure(call, outcome.error)
  const { reply, era, upstream } = outcome
  if (era === 'legacy') return reply
  return 'error' in reply ? downgradeError(call, reply.error, upstream) : { result: downgrade(reply.result) }
}

/** A missing resource has a code of its own in this era. */
function legacyFailure(call: Asked, error: GatewayError): Final {
  const final = encodeFailure(call.method, error)
  const uri = requestedUri(call)
  if (error.code !== 'NOT_FOUND' || uri === null || 'result' in final) return final
  return { error: aboutUri(final.error, -32002, uri) }
}

const MODERN_ONLY = ['resultType', 'ttlMs', 'cacheScope']

/** A modern result without what legacy results never carry. */
function downgrade(result: Bytes): Bytes {
  if (!isObject(result)) return result
  const object = objectAt(result)
  const edits = new Map<string, Bytes | null>(MODERN_ONLY.map(key => [key, null]))
  const meta = member(object, '_meta')
  if (meta && typeAt(result, meta) === 'object')
    edits.set('_meta', publicMeta(result.subarray(meta.start, meta.end)))
  const structured = member(object, 'structuredContent')
  if (!structured || typeAt(result, structured) === 'object') return editObject(object, edits)
  edits.set('structuredContent', null)
  return withText(editObject(object, edits), result.subarray(structured.start, structured.end))
}

/** Null when nothing of it is for this client. */
function publicMeta(meta: Bytes): Bytes | null {
  const object = objectAt(meta)
  const reserved = object.members.filter(({ key }) => key.startsWith('io.modelcontextprotocol/'))
  const kept = editObject(object, new Map(reserved.map(({ key }) => [key, null])))
  return kept.length > 2 ? kept : null
}

/** Structured content that is no object exists only since 2026-07-28: it must at least stand there as text. */
function withText(result: Bytes, structured: Bytes): Bytes {
  const object = objectAt(result)
  const text = JSON.stringify({ type: 'text', text: Buffer.from(structured).toString('utf8') })
  const content = member(object, 'content')
  if (!content || typeAt(result, content) !== 'array') {
    return editObject(object, undefined, [['content', Buffer.from(`[${text}]`)]])
  }
  const hasText = elementsAt(result, content).some(span => {
    if (typeAt(result, span) !== 'object') return false
    const item = objectAt(result, span)
    const type = member(item, 'type')
    return type !== undefined && stringAt(result, type) === 'text'
  })
  if (hasText) return result
  const items = Buffer.from(result.subarray(content.start + 1, content.end - 1))
    .toString('utf8')
    .trim()
  return editObject(
    object,
    new Map([['content', Buffer.from(`[${items === '' ? '' : `${items},`}${text}]`)]]),
  )
}

function downgradeError(call: Asked, error: Bytes, upstream: string): Final {
  const code = codeOf(error)
  const uri = requestedUri(call)
  if (code === -32602 && uri !== null && namesUri(error)) return { error: aboutUri(error, -32002, uri) }
  if (code === null || code > -32020 || code < -32099) return { error }
  const text = `${upstream} refused the request: ${messageOf(error)}`
  if (call.method === 'tools/call') return { result: toolErrorText(text) }
  return { error: rpcError(-32603, text, { upstream, code }) }
}

/** Clients before 2026-07-28 know output schemas of objects only. */
export function legacyTool(tool: Bytes): Bytes {
  if (!mentions(tool, '"outputSchema"')) return tool
  const object = objectAt(tool)
  const schema = member(object, 'outputSchema')
  if (!schema || typeAt(tool, schema) !== 'object') return tool
  const type = member(objectAt(tool, schema), 'type')
  if (type && stringAt(tool, type) === 'object') return tool
  return editObject(object, new Map([['outputSchema', null]]))
}
