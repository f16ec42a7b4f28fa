import { type Bytes, EMPTY_OBJECT, type ObjectSlice } from '../../model/index.js'
import { editObject, member, objectAt, typeAt } from '../../wire/index.js'

/** Keys that speak of one hop only; each hop makes its own. */
const PER_HOP = new Set(
  [
    'protocolVersion',
    'clientInfo',
    'clientCapabilities',
    'logLevel',
    'subscriptionId',
    'serverInfo',
    'related-task',
  ].map(key => `io.modelcontextprotocol/${key}`),
)
const PROGRESS = 'progressToken'

/**
 * `params` for the next hop: members in `replace` replaced, `_meta` freed of what belongs to the client's hop, and
 * `added` put into it. Trace context and everybody else's keys keep their bytes. Null when nothing is left to send.
 */
export function paramsForHop(
  params: ObjectSlice | null,
  replace: ReadonlyMap<string, Bytes> | undefined,
  added: ReadonlyArray<readonly [key: string, value: Bytes]>,
): Bytes | null {
  if (!params)
    return added.length === 0 ? null : editObject(EMPTY, undefined, [['_meta', metaFor(EMPTY, added)]])
  const found = member(params, '_meta')
  if (!found && added.length === 0 && !replace)
    return params.bytes.subarray(params.span.start, params.span.end)
  const edits = new Map<string, Bytes | null>(replace ?? [])
  if (!found) {
    return editObject(params, edits, added.length === 0 ? [] : [['_meta', metaFor(EMPTY, added)]])
  }
  const meta = typeAt(params.bytes, found) === 'object' ? objectAt(params.bytes, found) : EMPTY
  const kept = metaFor(meta, added)
  edits.set('_meta', kept.length > 2 ? kept : null)
  return editObject(params, edits)
}

const EMPTY: ObjectSlice = objectAt(EMPTY_OBJECT)

function metaFor(meta: ObjectSlice, added: ReadonlyArray<readonly [string, Bytes]>): Buffer {
  const removed = new Map<string, null>()
  for (const { key } of meta.members) if (key === PROGRESS || PER_HOP.has(key)) removed.set(key, null)
  return editObject(meta, removed, added)
}
