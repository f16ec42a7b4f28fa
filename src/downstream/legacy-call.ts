import {
  type Bytes,
  type Call,
  GatewayError,
  type ObjectSlice,
  type Outcome,
  type Reply,
} from '../model/index.js'
import type { Clock, GatewayCore, RunningCall, Timer } from '../runtime/ports.js'
import { editObject, json, member, objectAt, slice, stringAt, typeAt } from '../wire/index.js'
import { isObject, mentions, messageOf } from './eras/modern.js'
import type { LegacySession } from './legacy-session.js'
import type { AnswerSink } from './sink.js'

/** Rounds of questions in one call; a server that asks for ever is cut off. */
const MAX_ROUNDS = 8
/** A person may take long to answer; one who never does must not leave the call without an end. */
const ANSWER_MS = 10 * 60_000
/** A state without questions means "come back later"; each time a little later. */
const STATE_ONLY_MS = 250

/**
 * A call of a legacy client. A modern server answers `input_required` where it needs the client; the questions are then
 * put to the client live, and the call is made again with the answers.
 */
export class LegacyCall implements RunningCall {
  #running: RunningCall | null = null
  #pause: Timer | null = null
  /** Between two rounds: ends the call with an answer that says why. */
  #giveUp: ((why: string, code: 'DENIED' | 'UPSTREAM_REMOVED') => void) | null = null
  #over = false
  #rounds = 0

  constructor(
    private readonly core: GatewayCore,
    private readonly clock: Clock,
    private readonly session: LegacySession,
    private readonly call: Call,
    private readonly sink: AnswerSink,
  ) {}

  start(done: (outcome: Outcome) => void): this {
    this.#attempt(this.call, done)
    return this
  }

  cancel(reason: string): void {
    this.#over = true
    this.#pause?.cancel()
    this.#running?.cancel(reason)
  }

  /** The gateway stops: nobody is asked and no round begins any more. A round under way is ended by its server's end. */
  stop(): void {
    this.#giveUp?.('waited for the client when the gateway was stopped', 'UPSTREAM_REMOVED')
  }

  #attempt(call: Call, done: (outcome: Outcome) => void): void {
    this.#running = this.core.call(call, outcome => {
      if (this.#over) return
      const wanted = inputRequired(outcome)
      if (!wanted) return done(outcome)
      this.#rounds += 1
      if (this.#rounds > MAX_ROUNDS)
        return done(refused(outcome, `asked more than ${MAX_ROUNDS} times`, 'DENIED'))
      this.#giveUp = (why, code) => {
        this.#over = true
        this.#pause?.cancel()
        this.#giveUp = null
        done(refused(outcome, why, code))
      }
      this.#gather(wanted, done)
    })
  }

  #gather({ requests, state }: InputRequired, done: (outcome: Outcome) => void): void {
    if (requests.length === 0) {
      const wait = STATE_ONLY_MS * 2 ** (this.#rounds - 1)
      this.#pause = this.clock.after(wait, () => this.#again(new Map(), state, done))
      return
    }
    const answers = new Map<string, Bytes>()
    const giveUp = (why: string) => this.#giveUp?.(why, 'DENIED')
    this.#pause = this.clock.after(ANSWER_MS, () => giveUp('asked the client, which did not answer in time'))
    for (const { key, method, params } of requests) {
      if (this.#over) return
      const respond = (reply: Reply) => {
        if (this.#over) return
        if ('error' in reply) return giveUp(`needed ${method} from the client: ${messageOf(reply.error)}`)
        answers.set(key, Buffer.from(reply.result))
        if (answers.size < requests.length) return
        this.#pause?.cancel()
        this.#again(answers, state, done)
      }
      this.session.ask({ method, params, respond }, this.sink)
    }
  }

  #again(answers: ReadonlyMap<string, Bytes>, state: Bytes | null, done: (outcome: Outcome) => void): void {
    if (this.#over) return
    this.#giveUp = null
    const params = this.call.params ?? objectAt(json({}))
    const responses = editObject(objectAt(json({})), undefined, [...answers])
    const added: [string, Bytes][] = [['inputResponses', responses]]
    if (state) added.push(['requestState', state])
    this.#attempt({ ...this.call, params: objectAt(editObject(params, undefined, added)) }, done)
  }
}

interface InputRequired {
  readonly requests: readonly {
    readonly key: string
    readonly method: string
    readonly params: Bytes | null
  }[]
  readonly state: Bytes | null
}

/** The questions inside a modern result; null for every other outcome. */
function inputRequired(outcome: Outcome): InputRequired | null {
  if (outcome.kind !== 'answered' || outcome.era !== 'modern' || !('result' in outcome.reply)) return null
  const { result } = outcome.reply
  if (!mentions(result, 'input_required') || !isObject(result)) return null
  const object = objectAt(result)
  const type = member(object, 'resultType')
  if (!type || stringAt(result, type) !== 'input_required') return null
  const state = member(object, 'requestState')
  const requests = member(object, 'inputRequests')
  return {
    requests:
      requests && typeAt(result, requests) === 'object' ? readRequests(objectAt(result, requests)) : [],
    state: state ? Buffer.from(slice(result, state)) : null,
  }
}

function readRequests(map: ObjectSlice): InputRequired['requests'] {
  return map.members.flatMap(entry => {
    if (typeAt(map.bytes, entry) !== 'object') return []
    const request = objectAt(map.bytes, entry)
    const method = member(request, 'method')
    const params = member(request, 'params')
    const name = method && stringAt(map.bytes, method)
    if (name === undefined) return []
    return [{ key: entry.key, method: name, params: params ? slice(map.bytes, params) : null }]
  })
}

/** There is no way to tell a modern server that the client will not answer: the call simply ends here. */
function refused(outcome: Outcome, why: string, code: 'DENIED' | 'UPSTREAM_REMOVED'): Outcome {
  const upstream = outcome.kind === 'answered' ? outcome.upstream : ''
  const error = new GatewayError(code, `${upstream} ${why}. The call was given up.`, {
    upstream,
    reason: why,
  })
  return { kind: 'rejected', error }
}
