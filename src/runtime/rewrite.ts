import { publicUri } from '../core/catalog/index.js'
import type { Bytes, CatalogEntry, Kind, ObjectSlice, Span } from '../model/index.js'
import { editObject, elementsAt, json, member, objectAt, slice, stringAt, typeAt } from '../wire/index.js'

const KEY_MEMBER: Readonly<Record<Kind, string>> = {
  tools: 'name',
  prompts: 'name',
  resources: 'uri',
  resourceTemplates: 'uriTemplate',
}

const rendered = new WeakMap<CatalogEntry, Bytes>()

/** The component as clients see it: public name or URI in place of the native one, every other byte as it came. */
export function renderEntry(entry: CatalogEntry, prefix: string): Bytes {
  const known = rendered.get(entry)
  if (known) return known
  const object = objectAt(entry.component.bytes)
  const edits = new Map<string, Bytes>()
  if (entry.key !== entry.component.key) edits.set(KEY_MEMBER[entry.kind], json(entry.key))
  const meta = renderUiMeta(object, prefix)
  if (meta) edits.set('_meta', meta)
  const bytes = edits.size === 0 ? entry.component.bytes : editObject(object, edits)
  rendered.set(entry, bytes)
  return bytes
}

/** MCP Apps: a tool names the resource of its view in `_meta.ui.resourceUri`. */
function renderUiMeta(object: ObjectSlice, prefix: string): Bytes | null {
  return editAt(object, '_meta', meta => editAt(meta, 'ui', ui => editUri(ui, 'resourceUri', prefix)))
}

/**
 * A result with every URI in it under its public form.
 * Returns the very same bytes where nothing had to change, which is nearly always.
 */
export function renderResult(method: string, result: Bytes, prefix: string): Bytes {
  if (prefix === '' || !mentionsUri(result)) return result
  if (typeAt(result, whole(result)) !== 'object') return result
  const object = objectAt(result)
  switch (method) {
    case 'tools/call':
      return editItems(object, 'content', item => renderContent(item, prefix)) ?? result
    case 'resources/read':
      return editItems(object, 'contents', item => editUri(item, 'uri', prefix)) ?? result
    case 'prompts/get':
      return (
        editItems(object, 'messages', message =>
          editAt(message, 'content', content => renderContent(content, prefix)),
        ) ?? result
      )
    default:
      return result
  }
}

/** A key may be written with escapes, so a backslash-u anywhere means: look properly. */
function mentionsUri(bytes: Bytes): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return buffer.includes('"uri"') || buffer.includes('\\u00')
}

/** `resource_link` carries its URI directly, an embedded resource one level down. */
function renderContent(item: ObjectSlice, prefix: string): Bytes | null {
  const type = member(item, 'type')
  const name = type && stringAt(item.bytes, type)
  if (name === 'resource_link') return editUri(item, 'uri', prefix)
  if (name === 'resource') return editAt(item, 'resource', inner => editUri(inner, 'uri', prefix))
  return null
}

function editUri(object: ObjectSlice, key: string, prefix: string): Bytes | null {
  const found = member(object, key)
  const uri = found && stringAt(object.bytes, found)
  if (uri === undefined) return null
  const shown = publicUri(prefix, uri)
  return shown === uri ? null : editObject(object, new Map([[key, json(shown)]]))
}

/** Applies `edit` to the object under `key`; null = nothing changed. */
function editAt(object: ObjectSlice, key: string, edit: (inner: ObjectSlice) => Bytes | null): Bytes | null {
  const found = member(object, key)
  if (!found || typeAt(object.bytes, found) !== 'object') return null
  const changed = edit(objectAt(object.bytes, found))
  return changed && editObject(object, new Map([[key, changed]]))
}

/** Applies `edit` to each object of the array under `key`; null = nothing changed. */
function editItems(
  object: ObjectSlice,
  key: string,
  edit: (item: ObjectSlice) => Bytes | null,
): Bytes | null {
  const found = member(object, key)
  if (!found || typeAt(object.bytes, found) !== 'array') return null
  let changed = false
  const items = elementsAt(object.bytes, found).map(span => {
    if (typeAt(object.bytes, span) !== 'object') return slice(object.bytes, span)
    const edited = edit(objectAt(object.bytes, span))
    changed ||= edited !== null
    return edited ?? slice(object.bytes, span)
  })
  return changed ? editObject(object, new Map([[key, joinArray(items)]])) : null
}

function joinArray(items: readonly Bytes[]): Bytes {
  const parts: Bytes[] = []
  items.forEach((item, index) => {
    parts.push(index === 0 ? OPEN : COMMA, item)
  })
  if (parts.length === 0) parts.push(OPEN)
  parts.push(CLOSE)
  return Buffer.concat(parts)
}

const OPEN = Buffer.from('[')
const COMMA = Buffer.from(',')
const CLOSE = Buffer.from(']')

function whole(bytes: Bytes): Span {
  let start = 0
  while (start < bytes.length && (bytes[start] ?? 0) <= 0x20) start += 1
  return { start, end: bytes.length }
}
