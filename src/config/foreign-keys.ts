import type { Fault } from './faults.js'
import { holdfastSchema, SERVER_KEYS, serverOptions } from './schema.js'
import { nearestKey } from './suggest.js'

type Finding = Pick<Fault, 'severity' | 'message' | 'fix'>

const LEAVE_IT = 'remove it, or leave it for other clients'

/** Keys of other clients without a counterpart here; none is a misspelling of ours. */
const HARMLESS = new Set(
  'alwaysAllow autoApprove description name icon icons iconUrl gallery version trust dev id'.split(' '),
)

/** Keys of other clients that do something there, with what does it here. */
const COUNTERPARTS = new Map([
  ['timeout', 'use "requestTimeout" under "holdfast"'],
  ['autoStart', 'use "lazy" under "holdfast"'],
  ['includeTools', 'use "tools": { "allow": [...] } under "holdfast"'],
  ['excludeTools', 'use "tools": { "deny": [...] } under "holdfast"'],
  ['disabledTools', 'use "tools": { "deny": [...] } under "holdfast"'],
])

const ROOT_KEYS = ['mcpServers', 'servers', 'holdfast']
const QUIET_ROOT_KEYS = new Set([...ROOT_KEYS, 'inputs', '$schema'])

/** What to say about a key of an entry; undefined for one that is read. */
export function judgeEntryKey(key: string): Finding | undefined {
  if (SERVER_KEYS.includes(key)) return undefined
  if (HARMLESS.has(key)) return unused(LEAVE_IT)
  const counterpart = COUNTERPARTS.get(key)
  if (counterpart) return unused(counterpart)
  if (Object.hasOwn(serverOptions.shape, key)) return unused('move it under "holdfast"')
  return unused(guess(key, SERVER_KEYS))
}

/** What to say about a key at the top; undefined for one that is read, or is known to concern others. */
export function judgeRootKey(key: string): Finding | undefined {
  if (QUIET_ROOT_KEYS.has(key)) return undefined
  if (Object.hasOwn(holdfastSchema.shape, key)) return unused('move it under "holdfast"')
  return unused(guess(key, ROOT_KEYS))
}

function unused(fix: string): Finding {
  return { severity: 'warning', message: 'is not used by Holdfast', fix }
}

function guess(key: string, known: readonly string[]): string {
  const near = nearestKey(key, known)
  return near ? `did you mean "${near}"? Otherwise ${LEAVE_IT}` : LEAVE_IT
}
