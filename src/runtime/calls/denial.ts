import { kindsOf, type Target } from '../../core/route/index.js'
import type { Kind, Outcome } from '../../model/index.js'
import { asBuffer, editObject, json, member, objectAt, stringAt } from '../../wire/index.js'

/** An answer larger than this is none of those that say "no such tool". */
const LONGEST = 2_048
const NO_SUCH_THING = /unknown|not found|no such|does(n't| not) exist|not exist|disabled/i

/**
 * The kinds whose list an answer puts in doubt: the server says that what it listed is not there. Either as an error
 * (-32602, or -32002 of older servers), or as a result with the error in its text, as some SDKs write it.
 */
export function kindsDenied(target: Target, outcome: Outcome): readonly Kind[] {
  if (outcome.kind !== 'answered') return []
  const isError = 'error' in outcome.reply
  const bytes = 'error' in outcome.reply ? outcome.reply.error : outcome.reply.result
  if (bytes.length > LONGEST) return []
  const text = asBuffer(bytes)
  if (!text.includes('-32602') && !(isError && text.includes('-32002'))) return []
  return NO_SUCH_THING.test(text.toString('utf8')) ? kindsOf(target) : []
}

/** The denial, told with who said it and what is done about it. */
export function withFreshList(outcome: Outcome): Outcome {
  if (outcome.kind !== 'answered' || !('error' in outcome.reply)) return outcome
  const object = objectAt(outcome.reply.error)
  const found = member(object, 'message')
  const message = found && stringAt(object.bytes, found)
  if (message === undefined) return outcome
  const told = `${message} (${outcome.upstream} says so; its list is fetched anew)`
  return { ...outcome, reply: { error: editObject(object, new Map([['message', json(told)]])) } }
}
