import { type Bytes, LIMITS } from '../../model/index.js'
import type { Host, HttpExchange, HttpPool, Timer } from '../../runtime/ports.js'
import { SseParser } from '../../wire/index.js'
import type { TransportFault } from '../transport.js'
import { statusFault } from './http-faults.js'

export interface StreamSource {
  readonly path: string
  headers(): Record<string, string>
  message(bytes: Bytes): void
  sessionLost(fault: TransportFault): void
}

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000

/** The GET stream of a legacy session: re-opened for ever with backoff; a server that has none (405) is left alone. */
export class NotificationStream {
  #exchange: HttpExchange | null = null
  #timer: Timer | null = null
  #retryMs = FIRST_RETRY_MS
  #lastEventId = ''
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
    let streaming = false
    this.#exchange = this.pool.request(
      { method: 'GET', path: this.source.path, headers, headersTimeoutMs: 0 },
      {
        headers: (status, answer) => {
          streaming = status === 200 && (answer['content-type'] ?? '').startsWith('text/event-stream')
          if (streaming) this.#retryMs = FIRST_RETRY_MS
          else this.#refused(status, answer)
        },
        data: chunk => {
          if (streaming) parser.push(chunk)
        },
        end: () => streaming && this.#again(),
        fault: () => this.#again(),
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
        if (event.id !== null) this.#lastEventId = event.id
        if (event.event === 'message' && event.data.length > 0 && !this.#over) this.source.message(event.data)
      },
      retry: ms => {
        this.#retryMs = Math.min(Math.max(ms, 100), LAST_RETRY_MS)
      },
      overflow: () => undefined,
    })
  }

  #refused(status: number, headers: Readonly<Record<string, string>>): void {
    if (status === 404)
      this.source.sessionLost(statusFault(status, headers, Buffer.alloc(0), 'the GET stream', true))
    else if (status >= 500 || status === 429) this.#again()
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
