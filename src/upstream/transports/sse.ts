import { type HttpSpec, LIMITS, type Timeouts } from '../../model/index.js'
import type { Host, HttpExchange, HttpHandler, HttpPool } from '../../runtime/ports.js'
import { type SseEvent, SseParser } from '../../wire/index.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { collectBody, IGNORED_BODY } from './collect-body.js'
import { lowerCase, PLAIN } from './http.js'
import { MAX_ERROR_BODY } from './http-answer.js'
import { notMcp, statusFault, transportFault } from './http-faults.js'
import { answeredId, oversized } from './oversized.js'

const MAX_REDIRECTS = 3
const STOPPED: TransportFault = {
  phase: 'never-sent',
  reason: 'aborted',
  message: 'was stopped while it started',
}

const GONE: TransportFault = { phase: 'never-sent', reason: 'eof', message: 'the event stream is gone' }

export function createSseTransport(
  host: Host,
  spec: HttpSpec,
  timeouts: Timeouts,
  events: TransportEvents,
): Transport {
  return new SseTransport(host, spec, timeouts, events)
}

type Headers = Readonly<Record<string, string>>

function isStream(status: number, headers: Headers): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers
  return status === 200 && type.startsWith('text/event-stream') && encoding === 'identity'
}

/** HTTP+SSE of 2024-11-05: one GET stream for everything from the server, a POST a message to the address it names. */
class SseTransport implements Transport {
  readonly kind = 'sse'
  readonly pid = null
  readonly #url: URL
  readonly #pool: HttpPool
  readonly #headers: Record<string, string>
  #stream: HttpExchange | null = null
  /** Whose receipt has not come yet. */
  readonly #posts = new Map<number, HttpExchange>()
  #endpoint: string | null = null
  #over = false
  /** The gateway ended it: no event follows. */
  #stopped = false
  #onStart: { resolve(): void; reject(fault: TransportFault): void } | null = null

  constructor(
    private readonly host: Host,
    spec: HttpSpec,
    private readonly timeouts: Timeouts,
    private readonly events: TransportEvents,
  ) {
    this.#url = new URL(spec.url)
    this.#headers = lowerCase(spec.headers)
    this.#pool = host.dialer.pool(this.#url.origin, { connectTimeoutMs: timeouts.connect })
  }

  start(signal: AbortSignal): Promise<void> {
    if (this.#over || signal.aborted) return Promise.reject(STOPPED)
    const timer = this.host.clock.after(this.timeouts.start, () =>
      this.#end({
        phase: 'never-sent',
        reason: 'headers-timeout',
        message: `no endpoint event from ${this.#what}`,
      }),
    )
    const give = () => this.destroy()
    signal.addEventListener('abort', give, { once: true })
    return new Promise<void>((resolve, reject) => {
      this.#onStart = { resolve, reject }
      this.#openStream(this.#url, 0)
    }).finally(() => {
      timer.cancel()
      signal.removeEventListener('abort', give)
    })
  }

  send(message: OutgoingMessage): void {
    const { id } = message
    if (this.#endpoint === null || this.#over) {
      // A later turn: the caller is still inside `send`.
      if (id === undefined) return
      return queueMicrotask(() => {
        if (!this.#stopped) this.events.ended(id, GONE)
      })
    }
    const received = () => {
      if (id !== undefined) this.#posts.delete(id)
    }
    const failed = (fault: TransportFault) => {
      received()
      if (id !== undefined && !this.#over) this.events.ended(id, fault)
    }
    const what = `POST ${this.#endpoint.split('?')[0]}`
    let refusal: HttpHandler | null = null
    const exchange = this.#pool.request(
      {
        method: 'POST',
        path: this.#endpoint,
        headers: { ...this.#headers, ...PLAIN, 'content-type': 'application/json' },
        body: message.bytes,
        headersTimeoutMs: id === undefined ? LIMITS.receiptMs : this.timeouts.total,
      },
      {
        headers: (status, headers) => {
          received()
          if (status >= 200 && status < 300) refusal = IGNORED_BODY
          else
            refusal = collectBody(MAX_ERROR_BODY, ({ bytes, whole }) => {
              if (!whole) exchange.abort()
              failed(statusFault(status, headers, bytes, what, false))
            })
        },
        data: chunk => refusal?.data(chunk),
        end: () => refusal?.end(),
        fault: fault => (refusal ? refusal.fault(fault) : failed(transportFault(fault))),
      },
    )
    if (id !== undefined) this.#posts.set(id, exchange)
  }

  /** Its answer comes on the stream; what may still be under way is the receipt of the POST. */
  abort(id: number): void {
    this.#posts.get(id)?.abort()
    this.#posts.delete(id)
  }

  useProtocolVersion(): void {}
  openNotificationStream(): void {}

  fail(fault: TransportFault): void {
    this.#end(fault)
  }

  async close(): Promise<void> {
    this.destroy()
  }

  destroy(): void {
    this.#over = true
    this.#stopped = true
    this.#stream?.abort()
    this.#pool.destroy()
    this.#onStart?.reject(STOPPED)
    this.#onStart = null
  }

  get #what(): string {
    return `GET ${this.#url.pathname}`
  }

  #openStream(url: URL, redirects: number): void {
    const parser = new SseParser(LIMITS.upstreamMessageBytes, {
      event: event => this.#event(event),
      retry: () => undefined,
      overflow: (_total, prefix, suffix) => this.#dropped(answeredId(prefix, suffix)),
    })
    let body: HttpHandler | null = null
    const stream: HttpHandler = {
      headers: () => undefined,
      data: chunk => parser.push(chunk),
      end: () => this.#end({ phase: 'unknown', reason: 'eof', message: 'ended its event stream' }),
      fault: fault => this.#end(transportFault(fault)),
    }
    this.#stream = this.#pool.request(
      {
        method: 'GET',
        path: url.pathname + url.search,
        headers: { ...this.#headers, ...PLAIN, accept: 'text/event-stream' },
        headersTimeoutMs: this.timeouts.start,
      },
      {
        headers: (status, headers) => {
          const target = redirects < MAX_REDIRECTS ? this.#redirected(url, status, headers) : null
          if (target) {
            this.#stream?.abort()
            this.#openStream(target, redirects + 1)
          } else body = isStream(status, headers) ? stream : this.#refused(status, headers)
        },
        data: chunk => body?.data(chunk),
        end: () => body?.end(),
        fault: fault => (body ? body.fault(fault) : this.#end(transportFault(fault))),
      },
    )
  }

  #dropped(id: number | null): void {
    if (this.#over) return
    const fault = oversized('an event')
    if (id === null) this.events.noise(fault.message, 'violation')
    else this.events.ended(id, fault)
  }

  /** A missing or spare slash at the end is the usual reason. */
  #redirected(from: URL, status: number, headers: Headers): URL | null {
    const { location } = headers
    if (status < 300 || status > 399 || !location || !URL.canParse(location, from.href)) return null
    const target = new URL(location, from)
    return target.origin === this.#url.origin ? target : null
  }

  #refused(status: number, headers: Headers): HttpHandler {
    return collectBody(MAX_ERROR_BODY, ({ bytes }) =>
      this.#end(
        status === 200
          ? notMcp(this.#what, headers['content-type'] ?? '', bytes)
          : statusFault(status, headers, bytes, this.#what, false),
      ),
    )
  }

  #event(event: SseEvent): void {
    if (this.#over) return
    if (event.event === 'endpoint' && this.#endpoint === null)
      this.#useEndpoint(Buffer.from(event.data).toString('utf8').trim())
    else if (event.event === 'message' && event.data.length > 0) this.events.message(event.data, null)
  }

  /** Credentials go to the configured origin and nowhere else. */
  #useEndpoint(address: string): void {
    const target = URL.canParse(address, this.#url.href) ? new URL(address, this.#url) : null
    if (target?.origin !== this.#url.origin) {
      const message = `names an endpoint at another origin${target ? ` (${target.origin})` : ''}`
      return this.#end({ phase: 'rejected', reason: 'not-mcp', message })
    }
    this.#endpoint = target.pathname + target.search
    this.#onStart?.resolve()
    this.#onStart = null
  }

  #end(fault: TransportFault): void {
    if (this.#over) return
    this.#over = true
    this.#stream?.abort()
    this.#pool.destroy()
    if (this.#onStart) {
      this.#onStart.reject(fault)
      this.#onStart = null
    } else {
      this.events.closed(fault)
    }
  }
}
