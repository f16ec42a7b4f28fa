import { type Bytes, GatewayError, type Kind, LIST_METHOD } from '../model/index.js'
import type { ListPage } from '../runtime/ports.js'
import { concat, type Envelope, json, member, stringAt } from '../wire/index.js'

const KIND_OF = new Map<string, Kind>(
  (Object.entries(LIST_METHOD) as [Kind, string][]).map(([kind, method]) => [method, kind]),
)

/** The kind that a method lists; undefined for every other method. */
export function listedKind(method: string): Kind | undefined {
  return KIND_OF.get(method)
}

/**
 * Null = from the start.
 * @throws GatewayError INVALID_PARAMS for a cursor that cannot be one
 */
export function cursorOf({ params }: Envelope): string | null {
  const found = params && member(params, 'cursor')
  if (!found || !params) return null
  const cursor = stringAt(params.bytes, found)
  if (cursor === undefined) throw new GatewayError('INVALID_PARAMS', 'params.cursor must be a string.')
  return cursor
}

/** A list result; `members` are further raw members, each with a comma in front. */
export function encodeList(
  kind: Kind,
  page: ListPage,
  meta: Readonly<Record<string, unknown>>,
  members: string,
  change: (item: Bytes) => Bytes = item => item,
): Bytes {
  const parts: (Bytes | string)[] = [`{"${kind}":[`]
  page.items.forEach((item, index) => {
    if (index > 0) parts.push(',')
    parts.push(change(item))
  })
  parts.push(']')
  if (page.nextCursor !== null) parts.push(',"nextCursor":', json(page.nextCursor))
  const notes = page.unavailable.length > 0 ? { ...meta, 'dev.holdfast/unavailable': page.unavailable } : meta
  if (Object.keys(notes).length > 0) parts.push(',"_meta":', json(notes))
  parts.push(members, '}')
  return concat(...parts)
}
