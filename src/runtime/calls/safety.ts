import { allows } from '../../core/catalog/index.js'
import { type Safety, safetyOf, type ToolHints } from '../../core/retry/index.js'
import type { Call, CatalogEntry, Component, UpstreamSpec } from '../../model/index.js'
import { member, objectAt, parseAt } from '../../wire/index.js'

interface Request {
  readonly call: Call
  readonly native: string
  readonly entry: CatalogEntry | null
}

/** Whether a call may run twice, by its method, by what the configuration says, and by hints that it trusts. */
export function safetyFor({ call, native, entry }: Request, { supervision }: UpstreamSpec): Safety {
  const { idempotent, trusted } = supervision
  return safetyOf({
    method: call.method,
    continues: call.params !== null && CONTINUATION.some(key => call.params && member(call.params, key)),
    named: idempotent.length > 0 && allows({ allow: idempotent }, native),
    trusted,
    hints: trusted && entry ? hintsOf(entry.component) : null,
  })
}

/** Members of params that carry on a call which already began (2026-07-28, multi round-trip requests). */
const CONTINUATION = ['inputResponses', 'requestState']

function hintsOf({ bytes }: Component): ToolHints | null {
  const found = member(objectAt(bytes), 'annotations')
  const value = found && parseAt(bytes, found)
  if (typeof value !== 'object' || value === null) return null
  const { readOnlyHint, idempotentHint, destructiveHint } = value as Record<string, unknown>
  return { readOnly: readOnlyHint, idempotent: idempotentHint, destructive: destructiveHint }
}
