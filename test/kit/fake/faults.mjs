// Which scripted faults apply to a message, and what they make of its answer.
import { RpcError } from './protocol.mjs'

/** These happen instead of the work; all others after it, so that a lost answer is one whose effect remains. */
const INSTEAD = new Set(['error', 'http', 'html', 'session-lost', 'result', 'raw'])

/** Faults that the transport has to play, given the finished answer. */
export const OF_TRANSPORT = new Set([
  'hang',
  'crash',
  'close',
  'reset',
  'cut',
  'http',
  'html',
  'empty',
  'accepted',
  'stream-end',
  'session-lost',
  'close-stdin',
  'flood',
])

/** Methods without a slash; what else has none is an HTTP verb or `start`. */
const BARE_METHODS = new Set(['initialize', 'ping'])

export function isInstead(fault) {
  return fault.before ?? INSTEAD.has(fault.do.kind)
}

/**
 * @param subject what happens: `on` (method, HTTP verb or `start`), `tool`, `era`, `cursor`
 * @param count number of times that this subject happened, by fault key
 */
export function matchingFaults(script, subject, count) {
  return (script.faults ?? []).filter(fault => {
    if (fault.on !== '*' && fault.on !== subject.on) return false
    if (fault.on === '*' && !subject.on.includes('/') && !BARE_METHODS.has(subject.on)) return false
    if (fault.tool !== undefined && fault.tool !== subject.tool) return false
    if (fault.era !== undefined && fault.era !== subject.era) return false
    if (fault.cursor !== undefined && fault.cursor !== (subject.cursor ?? null)) return false
    if (!within(fault.spawns, subject.spawn)) return false
    return within(fault.calls, count(fault))
  })
}

function within(wanted, n) {
  if (wanted === undefined) return true
  if (typeof wanted === 'number') return n === wanted
  if (Array.isArray(wanted)) return wanted.includes(n)
  return n >= (wanted.from ?? 1) && n <= (wanted.to ?? Number.POSITIVE_INFINITY)
}

/** The whole answer that a message-level fault sends instead of, or around, the right one. */
export function spoil(action, idText, body) {
  const message = (id, content) => `{"jsonrpc":"2.0","id":${id},${content}}`
  const right = message(idText, body)
  switch (action.kind) {
    case 'error':
      return [message(idText, new RpcError(action.code, action.message ?? 'scripted error', action).body)]
    case 'result':
      return [message(idText, `"result":${action.raw}`)]
    case 'raw':
      return [action.text.replaceAll('$ID', idText)]
    case 'wrong-id':
      return [message(action.id ?? '987654321', body)]
    case 'duplicate':
      return [right, right]
    case 'both':
      return [message(idText, '"result":{"content":[]},"error":{"code":-32603,"message":"both"}')]
    case 'neither':
      return [`{"jsonrpc":"2.0","id":${idText}}`]
    case 'unknown-result-type':
      return [message(idText, '"result":{"resultType":"mystery","content":[]}')]
    case 'garbage': {
      const noise = Array(action.times ?? 1).fill(action.text)
      return action.then === false ? noise : [...noise, right]
    }
    default:
      throw new Error(`unknown fault kind ${action.kind}`)
  }
}
