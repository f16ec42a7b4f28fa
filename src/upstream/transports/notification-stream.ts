import { type Bytes, LIMITS } from '../../model/index.js'
import type { Host, HttpExchange, HttpPool, Timer } from '../../runtime/ports.js'
import { SseParser } from '../../wire/index.js'
import type { TransportFault } from '../transport.js'
import { statusFault } from './http-faults.js'

export interface StreamSource {
  readonly path: string
  headers(): Record<string, string>
  inSession(): boolean
  message(bytes: Bytes): void
  noise(what: string): void
  sessionLost(fault: TransportFault): void
}

const FIRST_RETRY_MS = 1_000
const LEAST_RETRY_MS = 500
const LAST_RETRY_MS = 60_000

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
    let state: 'asked' | 'streaming' | 'refused' = 'asked'
    const broke = () => {
      if (state !== 'refused') this.#again()
    }
    this.#exchange = this.pool.request(
      { method: 'GET', path: this.source.path, headers, headersTimeoutMs: 0 },
      {
        headers: (status, answer) => {
          const streams = status === 200 && (answer['content-type'] ?? '').startsWith('text/event-stream')
          state = streams ? 'streaming' : 'refused'
          if (streams) this.#wasOpen = true
          else this.#refused(status, answer)
        },
        data: chunk => {
          if (state === 'streaming') parser.push(chunk)
        },
        end: broke,
        fault: fault => {
          // A last id that no header can carry must not stand in the way for ever.
          if (fault.phase === 'never-sent' && fault.reason === 'other') this.#lastEventId = ''
          broke()
        },
      },
    )
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
        if (event.id !== null) this.#lastEventId = event.id
        // A server that says something may be asked again soon; one that only opens and ends streams may not.
        this.#retryMs = this.#firstRetryMs
        if (event.event === 'message' && event.data.length > 0) this.source.message(event.data)
      },
      retry: ms => {
        this.#firstRetryMs = Math.min(Math.max(ms, LEAST_RETRY_MS), LAST_RETRY_MS)
        this.#retryMs = this.#firstRetryMs
      },
      overflow: total => {
        if (!this.#over) this.source.noise(`an event of ${total} bytes was dropped: it is too large`)
      },
    })
  }

  /** Once it was open, a refusal says something about the session, or about the event asked for. */
  #refused(status: number, headers: Readonly<Record<string, string>>): void {
    this.#exchange?.abort()
    if (status >= 500 || status === 429 || status === 408) return this.#again()
    if (!this.#wasOpen) return
    if (status === 404 && this.source.inSession()) {
      const fault = statusFault(
        status,
        headers,
        Buffer.alloc(0),
        `GET ${this.source.path.split('?')[0]}`,
        true,
      )
      return this.source.sessionLost(fault)
    }
    if (this.#lastEventId === '') return
    this.#lastEventId = ''
    this.#again()
  }

  #again(): void {
    if (this.#over || this.#timer) return
    const delay = this.#retryMs * (0.5 + this.host.random.next() / 2)
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
    this.#timer = this.host.clock.after(delay, () => {
      this.#timer = null
      this.open()
    })
  }
}
