import { IdRing } from '../../core/tables/index.js'
import type { HttpSpec, Timeouts } from '../../model/index.js'
import type { Host, HttpExchange, HttpHandler, HttpPool } from '../../runtime/ports.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { readAnswer } from './http-answer.js'
import { NotificationStream } from './notification-stream.js'

const MAX_REDIRECTS = 3
const FAREWELL_MS = 2_000

export function createHttpTransport(
  host: Host,
  spec: HttpSpec,
  timeouts: Timeouts,
  events: TransportEvents,
): Transport {
  return new HttpTransport(host, spec, timeouts, events)
}

/** Streamable HTTP, both eras: one POST a message, its answer as JSON or as an event stream. */
class HttpTransport implements Transport {
  readonly kind = 'http'
  readonly pid = null
  readonly #url: URL
  readonly #pool: HttpPool
  readonly #baseHeaders: Record<string, string>
  readonly #exchanges = new IdRing<HttpExchange>()
  #path: string
  #session: string | null = null
  #version: string | null = null
  #notifications: NotificationStream | null = null
  #over = false
  #closed: Promise<void> | null = null

  constructor(
    private readonly host: Host,
    spec: HttpSpec,
    timeouts: Timeouts,
    private readonly events: TransportEvents,
  ) {
    this.#url = new URL(spec.url)
    this.#path = this.#url.pathname + this.#url.search
    this.#pool = host.dialer.pool(this.#url.origin, { connectTimeoutMs: timeouts.connect })
    this.#baseHeaders = { ...lowerCase(spec.headers), 'content-type': 'application/json', accept: ACCEPT }
  }

  async start(): Promise<void> {}

  send(message: OutgoingMessage): void {
    this.#post(message, this.#path, 0)
  }

  abort(id: number): void {
    this.#exchanges.delete(id)?.abort()
  }

  useProtocolVersion(version: string | null): void {
    this.#version = version
  }

  openNotificationStream(): void {
    if (this.#over || this.#notifications) return
    this.#notifications = new NotificationStream(this.host, this.#pool, {
      path: this.#path,
      headers: () => this.#headers({ accept: 'text/event-stream' }),
      message: bytes => this.events.message(bytes, null),
      sessionLost: fault => this.#lose(fault),
    })
    this.#notifications.open()
  }

  close(): Promise<void> {
    this.#closed ??= this.#sayFarewell().finally(() => this.destroy())
    return this.#closed
  }

  destroy(): void {
    this.#over = true
    this.#notifications?.close()
    this.#exchanges.clear()
    this.#pool.destroy()
    this.#closed ??= Promise.resolve()
  }

  #headers(extra?: Readonly<Record<string, string>>): Record<string, string> {
    const headers: Record<string, string> = { ...this.#baseHeaders }
    if (this.#version !== null) headers['mcp-protocol-version'] = this.#version
    if (this.#session !== null) headers['mcp-session-id'] = this.#session
    return extra ? Object.assign(headers, extra) : headers
  }

  #post(message: OutgoingMessage, path: string, redirects: number): void {
    const { id } = message
    let exchange: HttpExchange | null = null
    const ended = (fault: TransportFault | null) => {
      if (id === undefined || this.#exchanges.get(id) !== exchange) return
      this.#exchanges.delete(id)
      this.events.ended(id, fault)
    }
    const handler: HttpHandler = readAnswer({
      expectsAnswer: id !== undefined,
      what: `POST ${this.#url.pathname}`,
      hasSession: () => this.#session !== null,
      message: bytes => {
        if (id === undefined || this.#exchanges.get(id) === exchange) this.events.message(bytes, id ?? null)
      },
      sessionId: session => {
        this.#session = session
      },
      redirect: location => {
        const target = this.#sameOrigin(location)
        if (target === null || redirects >= MAX_REDIRECTS) return false
        // 308 is for good; following both for this message alone keeps the configured URL in charge.
        if (id !== undefined) this.#exchanges.delete(id)
        this.#post(message, target, redirects + 1)
        return true
      },
      ended: fault => {
        ended(fault)
        if (fault?.reason === 'session-lost') this.#lose(fault)
      },
    })
    exchange = this.#pool.request(
      {
        method: 'POST',
        path,
        headers: this.#headers(message.headers),
        body: message.bytes,
        headersTimeoutMs: 0,
      },
      handler,
    )
    if (id !== undefined) this.#exchanges.set(id, exchange)
  }

  #sameOrigin(location: string): string | null {
    if (!URL.canParse(location, this.#url.href)) return null
    const target = new URL(location, this.#url)
    return target.origin === this.#url.origin ? target.pathname + target.search : null
  }

  #lose(fault: TransportFault): void {
    if (this.#over) return
    this.#session = null
    this.events.closed(fault)
    this.destroy()
  }

  /** A session that nobody needs any more is ended, not left to time out at the server. */
  #sayFarewell(): Promise<void> {
    this.#notifications?.close()
    if (this.#over || this.#session === null) return Promise.resolve()
    this.#over = true
    return new Promise(resolve => {
      const timer = this.host.clock.after(FAREWELL_MS, resolve)
      const done = () => {
        timer.cancel()
        resolve()
      }
      this.#pool.request(
        { method: 'DELETE', path: this.#path, headers: this.#headers(), headersTimeoutMs: FAREWELL_MS },
        { headers: () => undefined, data: () => undefined, end: done, fault: done },
      )
    })
  }
}

const ACCEPT = 'application/json, text/event-stream'

export function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
