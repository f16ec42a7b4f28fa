import { STEADY } from './fleet.js'
import type { Answer, History, Recorded } from './history.js'

/** A broken promise, with when and how. */
export interface Violation {
  readonly promise: string
  readonly at: number
  readonly what: string
}

type Sent = Extract<Recorded, { kind: 'sent' }>

interface Request {
  readonly sent: Sent
  readonly answers: { readonly at: number; readonly answer: Answer }[]
  cancelledAt: number | null
  leftAt: number | null
}

/** A healthy server's own time, and what pipes and sockets take. */
const STEADY_MS = 250
const SLOW_TOOLS = new Set(['slow', 'chatty', 'ask'])
const SLOW_MS = 12_000
/** From a death to the answer: 100 ms after the system shows it, and the system's own time. */
const DEATH_MS = 200
/** Before this the steady server may still be starting. */
const STARTED_MS = 3_000

/**
 * What a finished run says about the promises. Everything is judged from the outside: what clients sent and read, and
 * what servers did.
 * @param disturbed a server that the machine itself let down
 */
export function check(history: History, disturbed: string | null = null): Violation[] {
  const violations: Violation[] = []
  const report = (promise: string, at: number, what: string) => violations.push({ promise, at, what })
  const requests = requestsOf(history, report)
  const effects = effectsOf(history)
  const handed = new Set(history.flatMap(fact => (fact.kind === 'handed' ? [fact.nonce] : [])))
  const closingAt = history.find(fact => fact.kind === 'phase' && fact.phase === 'closing')?.at ?? Infinity
  for (const request of requests) {
    checkAnswered(request, closingAt, report)
    for (const { at, answer } of request.answers) checkAnswer(request.sent, at, answer, effects, report)
    if (disturbed !== STEADY) checkSteady(request, closingAt, report)
    checkRefused(request, report)
    checkUnknown(request, handed, report)
    checkAdvice(request, report)
  }
  checkEffects(requests, effects, report)
  checkProgress(history, requests, report)
  checkRests(history, requests, report)
  checkDeaths(history, requests, report)
  checkBudget(history, requests, report)
  for (const fact of history) {
    if (fact.kind === 'odd') report('P7', fact.at, `${fact.client} got something odd: ${fact.what}`)
    if (fact.kind === 'warning' && fact.upstream === STEADY && disturbed !== STEADY)
      report('F19', fact.at, `there is a warning about a server that does nothing wrong: ${fact.what}`)
    if (fact.kind === 'broken') report(fact.promise, fact.at, fact.what)
  }
  return violations.sort((a, b) => a.at - b.at)
}

type Report = (promise: string, at: number, what: string) => void

function requestsOf(history: History, report: Report): Request[] {
  const requests: Request[] = []
  const open = new Map<string, Request>()
  for (const fact of history) {
    if (fact.kind === 'sent') {
      const request: Request = { sent: fact, answers: [], cancelledAt: null, leftAt: null }
      open.set(`${fact.client} ${fact.id}`, request)
      requests.push(request)
    } else if (fact.kind === 'answer') {
      const request = open.get(`${fact.client} ${fact.id}`)
      if (request) request.answers.push(fact)
      else report('P7', fact.at, `${fact.client} got an answer to ${fact.id}, which it never asked`)
    } else if (fact.kind === 'cancelled') {
      const request = open.get(`${fact.client} ${fact.id}`)
      if (request) request.cancelledAt = fact.at
    } else if (fact.kind === 'left') {
      for (const request of open.values()) if (request.sent.client === fact.client) request.leftAt ??= fact.at
    }
  }
  return requests
}

function effectsOf(history: History): Map<string, string[]> {
  const effects = new Map<string, string[]>()
  for (const fact of history) {
    if (fact.kind === 'effect') effects.set(fact.nonce, [...(effects.get(fact.nonce) ?? []), fact.upstream])
  }
  return effects
}

/** P3: exactly one final answer, by its deadline; none is owed to who cancelled or left. */
function checkAnswered(
  { sent, answers, cancelledAt, leftAt }: Request,
  closingAt: number,
  report: Report,
): void {
  const what = describe(sent)
  if (answers.length > 1) report('P3', answers[1]?.at ?? 0, `${what} was answered ${answers.length} times`)
  const first = answers[0]
  if (!first) {
    const isOwed = cancelledAt === null && sent.deadline < Math.min(leftAt ?? Infinity, closingAt)
    if (isOwed) report('P3', sent.deadline, `${what} had no answer by its deadline`)
    return
  }
  if (first.at > sent.deadline)
    report(
      'P3',
      first.at,
      `${what} was answered ${Math.round(first.at - sent.deadline)} ms after its deadline`,
    )
  if (leftAt !== null && first.at > leftAt)
    report('P3', first.at, `${what} was answered after its client left`)
}

/** P4 and P7: what an answer says is true, and it is the caller's own. */
function checkAnswer(
  sent: Sent,
  at: number,
  answer: Answer,
  effects: ReadonlyMap<string, string[]>,
  report: Report,
): void {
  const what = describe(sent)
  const ran = effects.get(sent.nonce)?.length ?? 0
  if (answer.said === 'not-run' && ran > 0)
    report(
      sent.retry === 'free' ? 'P4-repeated' : 'P4',
      at,
      `${what} is said not to have run ("${answer.words}"), but it did`,
    )
  if (answer.said !== 'served') return
  if (answer.nonce !== null && answer.nonce !== sent.nonce)
    report('P7', at, `${what} was answered with ${answer.nonce}, which is not its own`)
  if (sent.upstream !== null && answer.nonce === null)
    report('P7', at, `${what} was answered with something that no server says: ${answer.words}`)
  if (sent.upstream !== null && answer.upstream !== sent.upstream)
    report('P7', at, `${what} was answered by ${answer.upstream}`)
}

/** P4: what must not be repeated ran at most once. */
function checkEffects(
  requests: readonly Request[],
  effects: ReadonlyMap<string, string[]>,
  report: Report,
): void {
  for (const { sent } of requests) {
    const ran = effects.get(sent.nonce) ?? []
    if (sent.retry === 'never' && ran.length > 1)
      report('P4', sent.at, `${describe(sent)} ran ${ran.length} times, at ${ran.join(' and ')}`)
  }
}

/** P1: who calls the steady server is served, in its own time. */
function checkSteady(
  { sent, answers, cancelledAt, leftAt }: Request,
  closingAt: number,
  report: Report,
): void {
  if (sent.upstream !== STEADY || cancelledAt !== null) return
  if (sent.tool === 'flicker' || sent.tool === 'ask') return
  const first = answers[0]
  const most =
    STEADY_MS + (SLOW_TOOLS.has(sent.tool ?? '') ? SLOW_MS : 0) + (sent.at < STARTED_MS ? STARTED_MS : 0)
  if (!first || first.at > Math.min(leftAt ?? Infinity, closingAt)) return
  // A server that goes on with many cancelled calls is started anew, whoever else it works for.
  if (first.answer.words.includes('goes on with')) return
  if (first.answer.said !== 'served')
    report('P1', first.at, `${describe(sent)} was not served: ${first.answer.words}`)
  else if (first.at - sent.at > most)
    report('P1', first.at, `${describe(sent)} took ${Math.round(first.at - sent.at)} ms`)
}

/** P7: progress reaches only the call that it belongs to, and not after its answer. */
function checkProgress(history: History, requests: readonly Request[], report: Report): void {
  const byNonce = new Map(requests.map(request => [request.sent.nonce, request]))
  for (const fact of history) {
    if (fact.kind !== 'progress') continue
    const request = byNonce.get(fact.nonce)
    const isOwn = request?.sent.client === fact.client && fact.token === `p-${fact.nonce}`
    if (!isOwn) report('P7', fact.at, `${fact.client} got progress of ${fact.nonce} under ${fact.token}`)
    const answeredAt = request?.answers[0]?.at ?? Infinity
    if (isOwn && fact.at > answeredAt)
      report('P3', fact.at, `${describe(request.sent)} got progress after its answer`)
  }
}

/** How long the requests of a lost session take to go again. */
const CURED_MS = 3_000

/** F37: who asks in answer to a call to be left alone gets no call that was made after the gateway knew. */
function checkRests(history: History, requests: readonly Request[], report: Report): void {
  const sentAt = new Map(requests.map(({ sent }) => [sent.nonce, sent.at]))
  const rests = new Map<string, { from: number; until: number; promise: string }>()
  for (const fact of history) {
    if (fact.kind === 'rest') {
      const known = rests.get(fact.upstream)
      const from = known && known.until >= fact.at ? known.from : fact.at
      const promise = fact.asDate ? 'F37-date' : 'F37'
      const isLonger = fact.until > (known?.until ?? 0)
      rests.set(fact.upstream, isLonger || !known ? { from, until: fact.until, promise } : { ...known, from })
    } else if (fact.kind === 'called') {
      const rest = rests.get(fact.upstream)
      if (!rest || fact.at >= rest.until || (sentAt.get(fact.nonce) ?? 0) <= rest.from) continue
      const left = Math.round(rest.until - fact.at)
      report(
        rest.promise,
        fact.at,
        `${fact.upstream} was called (${fact.nonce}) ${left} ms before the end of its rest`,
      )
    }
  }
}

/** Nobody is told that what a server has would not exist, or that a request was wrong which was not. */
function checkRefused({ sent, answers }: Request, report: Report): void {
  const isRight = sent.upstream !== null && sent.tool !== 'flicker'
  for (const { at, answer } of answers) {
    if (isRight && answer.said === 'refused')
      report('P12', at, `${describe(sent)} was refused: ${answer.words}`)
  }
}

/** The rarest tries are five minutes apart, give or take a fifth. */
const ADVICE_MS = 360_000

/** F57: nobody is told to come back tomorrow because the wall clock was set. */
function checkAdvice({ sent, answers }: Request, report: Report): void {
  for (const { at, answer } of answers) {
    const { retryAfterMs } = answer
    if (retryAfterMs !== null && (retryAfterMs < 0 || retryAfterMs > ADVICE_MS))
      report('F57', at, `${describe(sent)} is told to try again in ${retryAfterMs} ms`)
  }
}

/** A try of what may be repeated has run out of time after this long at the earliest. */
const TRY_MS = 3_000

/** F13: what provably never left is not said to have an unknown outcome. A try that took too long is another matter. */
function checkUnknown({ sent, answers }: Request, handed: ReadonlySet<string>, report: Report): void {
  for (const { at, answer } of answers) {
    if (sent.retry === 'free' && at - sent.at >= TRY_MS) continue
    if (answer.failure === 'outcome_unknown' && !handed.has(sent.nonce))
      report('F13', at, `${describe(sent)} never left, but is said to be unknown: ${answer.words}`)
  }
}

/** What was under way at a child that dies is told so at once, not when its time is over. */
function checkDeaths(history: History, requests: readonly Request[], report: Report): void {
  const byNonce = new Map(requests.map(request => [request.sent.nonce, request]))
  const underWay = new Map<string, Set<string>>()
  for (const fact of history) {
    if (fact.kind === 'called') {
      const set = underWay.get(fact.upstream) ?? new Set()
      underWay.set(fact.upstream, set.add(fact.nonce))
    } else if (fact.kind === 'died') {
      for (const nonce of underWay.get(fact.upstream) ?? []) {
        const request = byNonce.get(nonce)
        if (request) checkDeath(request, fact.at, report)
      }
      underWay.delete(fact.upstream)
    }
  }
}

function checkDeath({ sent, answers, cancelledAt, leftAt }: Request, at: number, report: Report): void {
  // A call that asks its client something is between two requests, not under way.
  if (
    sent.retry !== 'never' ||
    sent.tool === 'ask' ||
    cancelledAt !== null ||
    (leftAt ?? Infinity) < at + DEATH_MS
  )
    return
  const answeredAt = answers[0]?.at ?? Infinity
  if (answeredAt > at + DEATH_MS)
    report('P3', at, `${describe(sent)} was not told within ${DEATH_MS} ms that its server died`)
}

/** A fifth of what is under way, and always three. */
function checkBudget(history: History, requests: readonly Request[], report: Report): void {
  const byNonce = new Map(requests.map(request => [request.sent.nonce, request]))
  const firstCalled = new Map<string, number>()
  const retried = new Map<string, Set<Request>>()
  const cured = new Map<string, number>()
  for (const fact of history) {
    // Whoever was refused for want of a session goes again with the new one; that is no retry of the budget's.
    if (fact.kind === 'fault' && /session/.test(fact.what)) cured.set(fact.upstream, fact.at + CURED_MS)
    if (fact.kind !== 'called') continue
    const request = byNonce.get(fact.nonce)
    const isFirst = !firstCalled.has(fact.nonce)
    if (isFirst) firstCalled.set(fact.nonce, fact.at)
    if (fact.at < (cured.get(fact.upstream) ?? 0)) continue
    if (!request || isFirst || request.sent.tool === 'ask') continue
    const set = retried.get(fact.upstream) ?? new Set()
    retried.set(fact.upstream, set.add(request))
    const open = [...set].filter(one => isUnderWay(one, fact.at))
    if (open.length <= 3) continue
    const own = requests.filter(one => one.sent.upstream === fact.upstream)
    // The last of them was granted when its first try failed: a pause, or a rest of the server, before it is made.
    const since = Math.min(...open.map(one => firstCalled.get(one.sent.nonce) ?? fact.at))
    const active = mostAtOnce(own, since, fact.at)
    if (open.length > Math.max(3, Math.floor(active / 5)))
      report('F36', fact.at, `${fact.upstream} sees ${open.length} retries at a time, of ${active} requests`)
  }
}

/** How many were under way at the busiest moment of a time. */
function mostAtOnce(requests: readonly Request[], from: number, to: number): number {
  const begun = requests.map(({ sent }) => sent.at).filter(at => at > from && at <= to)
  const counts = [from, ...begun].map(at => requests.filter(one => isUnderWay(one, at)).length)
  return Math.max(...counts)
}

function isUnderWay({ sent, answers, cancelledAt, leftAt }: Request, at: number): boolean {
  const end = Math.min(answers[0]?.at ?? Infinity, cancelledAt ?? Infinity, leftAt ?? Infinity)
  return sent.at <= at && end >= at
}

function describe({ client, id, method, upstream, tool, nonce, at }: Sent): string {
  const target = upstream === null ? '' : ` ${upstream}${tool === null ? '' : `/${tool}`}`
  return `${method}${target} of ${client} (id ${id}, ${nonce}, sent at ${Math.round(at)})`
}
