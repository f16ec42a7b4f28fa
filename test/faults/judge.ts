import type { FakeRecord } from '../kit/fake-records.js'
import { GRACE_MS, type Ledger, type Sent } from './ledger.js'

/** The invariants that can be read from what was written down. Each gives its violations in words. */

/** I1: exactly one final answer to each request, before its deadline and a second. */
export function unanswered(ledger: Ledger): readonly string[] {
  return ledger.sent.flatMap(sent => {
    const { answers, cancelled, deadlineMs } = sent
    if (answers.length > 1) return [`I1: ${describeSent(sent)} has ${answers.length} answers`]
    const [answer] = answers
    if (!answer) return cancelled ? [] : [`I1: ${describeSent(sent)} has no answer in ${deadlineMs} ms`]
    const late = answer.ms > deadlineMs + GRACE_MS
    return late ? [`I1: ${describeSent(sent)} was answered after ${Math.round(answer.ms)} ms`] : []
  })
}

const NONCE = /nonce-[a-z]+-\d+-/g

/** I2: no answer and no notification carries anything of another call, and an answer carries its own. */
export function misdelivered(ledger: Ledger): readonly string[] {
  const strangers = ledger.sent.flatMap(sent => {
    const texts = [...sent.before, ...sent.answers.map(({ text }) => text)]
    const foreign = texts.flatMap(noncesIn).filter(nonce => nonce !== sent.nonce)
    return foreign.map(nonce => `I2: ${describeSent(sent)} got something of ${nonce}`)
  })
  const swapped = ledger.sent.flatMap(sent => {
    const [answer] = sent.answers
    if (!sent.echoes || !answer?.result || answer.failure || answer.result['isError']) return []
    const own = sent.nonce !== null && answer.text.includes(sent.nonce)
    return own ? [] : [`I2: ${describeSent(sent)} was answered without its own nonce`]
  })
  const unasked = ledger.unasked.flatMap(({ client, text }) => {
    const isAnswer = !('method' in (JSON.parse(text) as object))
    const foreign = noncesIn(text).some(nonce => !nonce.startsWith(`nonce-${client}-`))
    return isAnswer || foreign ? [`I2: ${client} got unasked: ${text.slice(0, 300)}`] : []
  })
  return [...strangers, ...swapped, ...unasked]
}

function noncesIn(text: string): readonly string[] {
  return text.match(NONCE) ?? []
}

/** I5: no call of a tool ran more than once. */
export function replayed(ledger: Ledger, records: readonly FakeRecord[]): readonly string[] {
  const runs = new Map<string, number>()
  for (const { kind, args } of records) {
    if (kind !== 'run') continue
    for (const nonce of new Set(noncesIn(args ?? ''))) runs.set(nonce, (runs.get(nonce) ?? 0) + 1)
  }
  return ledger.sent.flatMap(sent => {
    const n = sent.nonce === null ? 0 : (runs.get(sent.nonce) ?? 0)
    return n > 1 ? [`I5: ${describeSent(sent)} ran ${n} times`] : []
  })
}

/** What the process says when something went wrong inside it. */
const INNER_FAULTS =
  /a fault of the gateway|unhandled ?rejection|uncaught ?exception|MaxListenersExceeded|heap out of memory|^\s+at .*\.js:\d+/im

/** I4, for its log: no fault of its own. */
export function innerFaults(stderr: string): readonly string[] {
  return stderr
    .split('\n')
    .filter(line => INNER_FAULTS.test(line))
    .map(line => `I4: the gateway says: ${line}`)
}

/** I8: secrets are nowhere in what people get to see. */
export function leaks(canary: string, texts: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(texts)
    .filter(([, text]) => text.includes(canary))
    .map(([where]) => `I8: a secret of the config stands in ${where}`)
}

function describeSent({ client, method, tool, nonce }: Sent): string {
  return [client, method, tool, nonce].filter(Boolean).join(' ')
}
