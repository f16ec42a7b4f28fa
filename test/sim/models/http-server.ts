import type { Site, SiteAnswer, SiteRequest } from '../virtual-dialer.js'
import { EPOCH } from '../world.js'
import { type App, CALLS, type Message, type Mood, QUESTION, type RequestFault } from './app.js'
import { EventLog } from './event-log.js'
import { type Lane, work } from './work.js'

const KNOWN: readonly RequestFault[] = [
  'hang',
  'late',
  'twice',
  'other-id',
  'text-id',
  'both-members',
  'status-before',
  'status-after',
  'rate',
  'html',
  'empty',
  'reset-before',
  'reset-after',
  'fin',
]
const IN_SESSION: readonly RequestFault[] = [...KNOWN, 'lost-session']

export interface HttpTraits {
  /** Numbers its events and lets a broken stream be taken up again. */
  readonly resumable: boolean
  /** Has a GET stream for notifications. */
  readonly streams: boolean
}

/** Longer ones are cut. */
const LONGEST_REST_MS = 5 * 60_000

const JSON_TYPE = { 'content-type': 'application/json' }
const SSE_TYPE = { 'content-type': 'text/event-stream' }

/** A Streamable HTTP server: with sessions in the legacy era, stateless in the modern one. */
export class HttpServer implements Site {
  /** Each with whether its client said that it can be asked. */
  readonly #sessions = new Map<string, boolean>()
  readonly #streams = new Set<SiteAnswer>()
  readonly #logs = new Map<string, EventLog>()
  readonly #questions = new Map<unknown, (accepted: boolean) => void>()
  readonly #cancelled = new Set<unknown>()
  #nextSession = 1
  #nextLog = 1
  #nextQuestion = 1
  /** Counts its deaths; work of an earlier life is gone. */
  #life = 0

  constructor(
    private readonly app: App,
    private readonly mood: Mood,
    private readonly traits: HttpTraits,
  ) {}

  get door(): Site['door'] {
    if (this.mood.condition === 'down' || this.mood.condition === 'missing') return 'closed'
    return this.mood.condition === 'hole' ? 'hole' : 'open'
  }

  serve(request: SiteRequest, answer: SiteAnswer): void {
    if (this.mood.condition === 'mute') return
    const session = request.headers['mcp-session-id']
    if (session !== undefined && !this.#sessions.has(session)) return refuse(answer, 404)
    if (request.method === 'DELETE') return this.#endSession(session, answer)
    if (request.method === 'GET') return this.#get(request, answer)
    const message = JSON.parse(request.body) as Message
    if (message.method === undefined) return this.#answered(message, answer)
    if (message.id === undefined) return this.#notified(session, message, answer)
    this.#request(session, message, answer)
  }

  /** Everything it did is gone; sessions too. */
  crash(): void {
    this.#life += 1
    this.#logs.clear()
    this.#questions.clear()
    this.dropSessions()
  }

  dropSessions(): void {
    this.#sessions.clear()
    this.cutStreams()
  }

  cutStreams(): void {
    for (const stream of this.#streams) stream.reset()
    this.#streams.clear()
  }

  changed(): void {
    const message = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }
    for (const stream of this.#streams) stream.data(event(message))
  }

  #request(session: string | undefined, message: Message, answer: SiteAnswer): void {
    const { app } = this
    const isFirst = message.method === 'initialize' || message.method === 'server/discover'
    if (app.era === 'legacy' && session === undefined && !isFirst) return refuse(answer, 400)
    if (CALLS.has(message.method ?? '')) app.called(message)
    const known = session === undefined ? KNOWN : IN_SESSION
    const fault = this.mood.faultFor(message.method ?? '', known)
    if (message.method === 'subscriptions/listen' && app.era === 'modern' && fault === null)
      return this.#listen(message, answer)
    const headers: Record<string, string> = {}
    if (message.method === 'initialize' && app.era === 'legacy') {
      const id = `s${this.#nextSession++}`
      const capabilities = message.params?.['capabilities'] as Record<string, unknown> | undefined
      this.#sessions.set(id, capabilities?.['elicitation'] !== undefined)
      headers['mcp-session-id'] = id
    }
    work(app, message, fault, this.#lane(session, message, answer, headers))
  }

  #listen({ id }: Message, answer: SiteAnswer): void {
    answer.headers(200, SSE_TYPE)
    this.#streams.add(answer)
    answer.onGone(() => this.#streams.delete(answer))
    const params = { _meta: { 'io.modelcontextprotocol/subscriptionId': id } }
    answer.data(event({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params }))
  }

  #get({ headers }: SiteRequest, answer: SiteAnswer): void {
    const last = headers['last-event-id']?.split(':')[0]
    const log = last === undefined ? undefined : this.#logs.get(last)
    if (log) return log.resume(answer, headers['last-event-id'] ?? '')
    if (!this.traits.streams || this.app.era === 'modern') return refuse(answer, 405)
    answer.headers(200, SSE_TYPE)
    this.#streams.add(answer)
    answer.onGone(() => this.#streams.delete(answer))
  }

  #endSession(session: string | undefined, answer: SiteAnswer): void {
    if (session !== undefined) this.#sessions.delete(session)
    answer.headers(200)
    answer.end()
  }

  #answered({ id, result }: Message, answer: SiteAnswer): void {
    answer.headers(202)
    answer.end()
    const respond = this.#questions.get(id)
    this.#questions.delete(id)
    respond?.(result !== undefined)
  }

  #notified(session: string | undefined, { method, params }: Message, answer: SiteAnswer): void {
    if (method === 'notifications/cancelled')
      this.#cancelled.add(`${session} ${String(params?.['requestId'])}`)
    answer.headers(202)
    answer.end()
  }

  #lane(
    session: string | undefined,
    message: Message,
    answer: SiteAnswer,
    headers: Record<string, string>,
  ): Lane {
    const { app, traits } = this
    const life = this.#life
    const key = `${session} ${String(message.id)}`
    const log = new EventLog(`l${this.#nextLog++}`, answer, traits.resumable && app.era === 'legacy', headers)
    if (log.resumable) this.#logs.set(log.id, log)
    let isDropped = false
    if (app.era === 'modern') {
      answer.onGone(() => {
        isDropped = true
      })
    }
    return {
      after: (ms, fn) => {
        app.world.after(ms, () => {
          const isGone =
            isDropped || life !== this.#life || this.#cancelled.has(key) || this.mood.condition === 'mute'
          if (!isGone) fn()
        })
      },
      interim: sent => log.push(sent, false),
      answer: sent => {
        if (!log.started && app.dice.chance(0.5)) return sendJson(answer, sent, headers)
        log.push(sent, true)
      },
      breaks: (fault, sent) => {
        if (fault === 'rate') return this.#throttle(message, answer)
        this.#break(fault, session, answer, log, sent)
      },
      ask: this.#sessions.get(session ?? '') ? respond => this.#ask(log, respond) : null,
    }
  }

  #throttle({ method }: Message, answer: SiteAnswer): void {
    const { text, arrived } = this.#retryAfter(CALLS.has(method ?? ''))
    // Its own clock, whatever ours does; a date has no parts of a second.
    const date = new Date(EPOCH + Math.floor(this.app.world.now / 1_000) * 1_000).toUTCString()
    refuse(answer, 429, { 'retry-after': text, date }, arrived)
  }

  /** In all the forms that are seen. */
  #retryAfter(isCall: boolean): { text: string; arrived?: () => void } {
    const { dice, world } = this.app
    const seconds = dice.pick([1, 2, 30, 3_000_000])
    const form = dice.pick(['seconds', 'date', 'nonsense'] as const)
    if (form === 'nonsense') return { text: dice.pick(['-1', 'soon']) }
    // A date has no parts of a second.
    const until =
      form === 'seconds' ? world.now + seconds * 1_000 : Math.floor(world.now / 1_000 + seconds) * 1_000
    const end = Math.min(until, world.now + LONGEST_REST_MS)
    return {
      text: form === 'seconds' ? String(seconds) : new Date(EPOCH + until).toUTCString(),
      arrived: () => this.mood.asksForRest(end, isCall, form === 'date'),
    }
  }

  #ask(log: EventLog, respond: (accepted: boolean) => void): void {
    const id = `q${this.#nextQuestion++}`
    this.#questions.set(id, respond)
    log.push({ jsonrpc: '2.0', id, method: 'elicitation/create', params: QUESTION }, false)
  }

  #break(
    fault: RequestFault,
    session: string | undefined,
    answer: SiteAnswer,
    log: EventLog,
    sent: object | undefined,
  ): void {
    const { dice } = this.app
    switch (fault) {
      case 'status-before':
      case 'status-after':
        return refuse(answer, dice.pick([500, 502, 503, 504]))
      case 'lost-session':
        if (session !== undefined) this.#sessions.delete(session)
        return refuse(answer, 404)
      case 'html':
        answer.headers(200, { 'content-type': 'text/html' })
        answer.data('<html>Sign in</html>')
        return answer.end()
      case 'empty':
        answer.headers(202)
        return answer.end()
      case 'fin':
        return log.breakOff(true, sent)
      default:
        if (log.started || (log.resumable && sent)) return log.breakOff(false, sent)
        answer.reset()
    }
  }
}

function refuse(
  answer: SiteAnswer,
  status: number,
  headers: Record<string, string> = {},
  arrived?: () => void,
): void {
  answer.headers(status, { 'content-type': 'text/plain', ...headers })
  answer.data('no')
  answer.end(arrived)
}

function sendJson(answer: SiteAnswer, message: object, headers: Record<string, string>): void {
  answer.headers(200, { ...JSON_TYPE, ...headers })
  answer.data(JSON.stringify(message))
  answer.end()
}

function event(message: object): string {
  return `data: ${JSON.stringify(message)}\n\n`
}
