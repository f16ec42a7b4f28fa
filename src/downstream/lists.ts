import { type Bytes, type Kind, LIST_METHOD } from '../model/index.js'
import type { ListPage } from '../runtime/ports.js'
import { concat, type Envelope, json, member, stringAt } from '../wire/index.js'

const KIND_OF = new Map<string, Kind>(
  (Object.entries(LIST_METHOD) as [Kind, string][]).map(([kind, method]) => [method, kind]),
)

/** The kind that a method lists; undefined for every other method. */
export function listedKind(method: string): Kind | undefined {
  return KIND_OF.get(method)
}

/** Null = from the start. */
export function cursorOf({ params }: Envelope): string | null {
  const found = params && member(params, 'cursor')
  return found && params ? (stringAt(params.bytes, found) ?? null) : null
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
