import {
  type Bytes,
  type CallContext,
  EMPTY_OBJECT,
  type HeaderParam,
  type ObjectSlice,
} from '../../model/index.js'
import type { UpstreamRequest } from '../../runtime/ports.js'
import {
  editObject,
  encodeHeaderValue,
  json,
  member,
  notificationMessage,
  objectAt,
  requestMessage,
  stringAt,
  typeAt,
} from '../../wire/index.js'
import type { EraCodec } from './era.js'
import { paramsForHop } from './meta.js'

const KEY = 'io.modelcontextprotocol/'

/**
 * 2026-07-28 and later: everything a server must know of the caller travels with each request; over HTTP parts of it
 * are mirrored in headers, computed anew from the names that this server knows.
 */
export function modernCodec(options: {
  readonly version: string
  readonly clientInfo: { readonly name: string; readonly version: string }
  readonly overHttp: boolean
}): EraCodec {
  const version = json(options.version)
  const clientInfo = json(options.clientInfo)
  return {
    era: 'modern',
    encode: (id, request) => {
      const { context } = request
      const added: [string, Bytes][] = [
        [`${KEY}protocolVersion`, version],
        [`${KEY}clientInfo`, clientInfo],
        [`${KEY}clientCapabilities`, capabilitiesOf(context)],
      ]
      if (context?.logLevel !== undefined) added.push([`${KEY}logLevel`, json(context.logLevel)])
      if (context?.clientInfo) added.push(['dev.holdfast/client', context.clientInfo])
      if (context?.onProgress) added.push(['progressToken', Buffer.from(String(id))])
      const bytes = requestMessage(id, request.method, paramsForHop(request.params, request.replace, added))
      return options.overHttp ? { id, bytes, headers: headersFor(request, options.version) } : { id, bytes }
    },
    cancel: (id, reason) =>
      options.overHttp
        ? null
        : notificationMessage('notifications/cancelled', json({ requestId: id, reason })),
  }
}

/** Never more than can be relayed: a modern client answers by retrying, a legacy one only over its live channel. */
function capabilitiesOf(context: CallContext | null): Bytes {
  if (!context) return EMPTY_OBJECT
  if (context.era === 'modern') return context.capabilities
  if (!context.onAsk) return EMPTY_OBJECT
  return relayable(objectAt(context.capabilities))
}

/** A legacy client's declaration without what this era no longer has. */
function relayable(declared: ObjectSlice): Bytes {
  const edits = new Map<string, Bytes | null>([['tasks', null]])
  const roots = member(declared, 'roots')
  if (roots) edits.set('roots', EMPTY_OBJECT)
  return editObject(declared, edits)
}

function headersFor(request: UpstreamRequest, version: string): Record<string, string> {
  const headers: Record<string, string> = { 'mcp-protocol-version': version, 'mcp-method': request.method }
  const name = mirroredName(request)
  if (name !== undefined) headers['mcp-name'] = encodeHeaderValue(name)
  for (const param of request.headerParams ?? []) {
    const value = argumentText(request.params, param)
    if (value !== undefined) headers[`mcp-param-${param.header.toLowerCase()}`] = encodeHeaderValue(value)
  }
  return headers
}

const NAMED_BY: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

function mirroredName({ method, params, replace }: UpstreamRequest): string | undefined {
  const key = NAMED_BY[method]
  if (key === undefined) return undefined
  const replaced = replace?.get(key)
  if (replaced) return stringAt(replaced, { start: 0, end: replaced.length })
  const found = params && member(params, key)
  return found && params ? stringAt(params.bytes, found) : undefined
}

/** Null and absent arguments have no header. */
function argumentText(params: ObjectSlice | null, { path }: HeaderParam): string | undefined {
  let object = params
  for (const key of ['arguments', ...path].slice(0, -1)) {
    const inner = object && member(object, key)
    if (!object || !inner || typeAt(object.bytes, inner) !== 'object') return undefined
    object = objectAt(object.bytes, inner)
  }
  const last = path.at(-1)
  const found = object && last !== undefined ? member(object, last) : undefined
  if (!object || !found || typeAt(object.bytes, found) === 'null') return undefined
  return (
    stringAt(object.bytes, found) ??
    Buffer.from(object.bytes.subarray(found.start, found.end)).toString('latin1')
  )
}
