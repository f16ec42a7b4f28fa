import { type Bytes, LIMITS } from '../../model/index.js'
import type { Host, HttpExchange, HttpHandler, HttpPool, Timer } from '../../runtime/ports.js'
import { SseParser } from '../../wire/index.js'
import { MISSED_CHANGES, PROMPT_MS } from '../missed-changes.js'
import { retryAfterMs } from '../retry-after.js'
import type { TransportFault } from '../transport.js'
import { collectBody } from './collect-body.js'
import { statusFault } from './http-faults.js'
import { namesLostSession, sessionIsLost } from './session-lost.js'

export interface StreamSource {
  path(): string
  headers(): Record<string, string>
  inSession(): boolean
  message(bytes: Bytes): void
  /** An event was dropped. */
  tooLarge(prefix: Bytes, suffix: Bytes): void
  sessionLost(fault: TransportFault): void
}

const FIRST_RETRY_MS = 1_000
const LEAST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000
const MAX_EVENT_ID = 1_024
/** Enough of a refusal to see whether it is about the session. */
const REFUSAL_BYTES = 4_096

/**
 * The GET stream of a legacy session: opened again for ever with backoff. A server that refuses it the first time has
 * none, which is fine (405 is the usual way, 404 a common one).
 */
export class NotificationStream {
  #exchange: HttpExchange | null = null
  #timer: Timer | null = null
  #firstRetryMs = FIRST_RETRY_MS
  #retryMs = FIRST_RETRY_MS
  #lastEventId = ''
  #wasOpen = false
  #tries = 0
  #over = false

  constructor(
    private readonly host: Host,
    private readonly pool: HttpPool,
    private readonly source: StreamSource,
  ) {}

  open(): void {
    if (this.#over) return
    const headers = this.source.headers()
    if (this.#lastEventId !== '') headers['last-event-id'] = this.#lastEventId
    const parser = this.#parser()
    const askedAt = this.host.clock.now()
    this.#tries += 1
    let state: 'asked' | 'streaming' | 'refused' = 'asked'
    let refusal: HttpHandler | null = null
    const broke = () => {
      if (state !== 'refused') this.#again()
    }
    this.#exchange = this.pool.request(
      { method: 'GET', path: this.source.path(), headers, headersTimeoutMs: 0 },
      {
        headers: (status, answer) => {
          const streams = status === 200 && (answer['content-type'] ?? '').startsWith('text/event-stream')
          state = streams ? 'streaming' : 'refused'
          if (streams) this.#opened(askedAt)
          else refusal = collectBody(REFUSAL_BYTES, ({ bytes }) => this.#refused(status, answer, bytes))
        },
        data: chunk => (refusal ? refusal.data(chunk) : state === 'streaming' && parser.push(chunk)),
        end: () => (refusal ? refusal.end() : broke()),
        fault: fault => {
          if (refusal) return refusal.fault(fault)
          // A last id that no header can carry must not stand in the way for ever.
          if (fault.phase === 'never-sent' && fault.reason === 'other') this.#lastEventId = ''
          broke()
        },
      },
    )
  }

  /** What changed while nobody listened is found out by asking; a server that resumes tells it by itself. */
  #opened(askedAt: number): void {
    this.#wasOpen = true
    const isPrompt = this.#tries === 1 && this.host.clock.now() - askedAt <= PROMPT_MS
    if (isPrompt || this.#lastEventId !== '') return
    for (const message of MISSED_CHANGES) this.source.message(message)
  }

  close(): void {
    this.#over = true
    this.#timer?.cancel()
    this.#exchange?.abort()
  }

  #parser(): SseParser {
    return new SseParser(LIMITS.upstreamMessageBytes, {
      event: event => {
        if (this.#over) return
        if (event.id !== null) this.#lastEventId = event.id.length <= MAX_EVENT_ID ? event.id : ''
        // A server that says something may be asked again soon; one that only opens and ends streams may not.
        this.#retryMs = this.#firstRetryMs
        if (event.event === 'message' && event.data.length > 0) this.source.message(event.data)
      },
      retry: ms => {
        this.#firstRetryMs = Math.min(Math.max(ms, LEAST_RETRY_MS), LAST_RETRY_MS)
        this.#retryMs = this.#firstRetryMs
      },
      overflow: (_total, prefix, suffix) => {
        if (!this.#over) this.source.tooLarge(prefix, suffix)
      },
    })
  }

  /** Once it was open, a refusal says something about the session, or about the event asked for. */
  #refused(status: number, headers: Readonly<Record<string, string>>, body: Bytes): void {
    if (this.#over) return
    this.#exchange?.abort()
    if (this.#sessionIsLost(status, body)) {
      const what = `GET ${this.source.path().split('?')[0]}`
      return this.source.sessionLost(statusFault(status, headers, body, what, true))
    }
    if (status >= 500 || status === 429 || status === 408)
      return this.#again(retryAfterMs(headers, this.host.clock.wallTime()))
    if (!this.#wasOpen || this.#lastEventId === '') return
    this.#lastEventId = ''
    this.#again()
  }

  /** Servers that only route POST say 404 to the first GET, without a word of sessions. */
  #sessionIsLost(status: number, body: Bytes): boolean {
    if (!this.source.inSession() || !sessionIsLost(status, body)) return false
    return this.#wasOpen || namesLostSession(body)
  }

  #again(restMs = 0): void {
    if (this.#over || this.#timer) return
    const delay = Math.max(restMs, this.#retryMs * (0.5 + this.host.random.next() / 2))
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
    this.#timer = this.host.clock.after(delay, () => {
      this.#timer = null
      this.open()
    })
  }
}
