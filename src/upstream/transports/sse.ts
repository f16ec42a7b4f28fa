import { type HttpSpec, LIMITS, type Timeouts } from '../../model/index.js'
import type { Host, HttpExchange, HttpPool } from '../../runtime/ports.js'
import { type SseEvent, SseParser } from '../../wire/index.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { lowerCase } from './http.js'
import { notMcp, statusFault, transportFault } from './http-faults.js'

export function createSseTransport(
  host: Host,
  spec: HttpSpec,
  timeouts: Timeouts,
  events: TransportEvents,
): Transport {
  return new SseTransport(host, spec, timeouts, events)
}

/** HTTP+SSE of 2024-11-05: one GET stream for everything from the server, a POST a message to the address it names. */
class SseTransport implements Transport {
  readonly kind = 'sse'
  readonly pid = null
  readonly #url: URL
  readonly #pool: HttpPool
  readonly #headers: Record<string, string>
  #stream: HttpExchange | null = null
  #endpoint: string | null = null
  #over = false
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
    signal.addEventListener('abort', () => this.destroy(), { once: true })
    const timer = this.host.clock.after(this.timeouts.start, () =>
      this.#end({
        phase: 'never-sent',
        reason: 'headers-timeout',
        message: `no endpoint event from ${this.#what}`,
      }),
    )
    return new Promise<void>((resolve, reject) => {
      this.#onStart = { resolve, reject }
      this.#openStream()
    }).finally(() => timer.cancel())
  }

  send(message: OutgoingMessage): void {
    const { id } = message
    const failed = (fault: TransportFault) => {
      if (id !== undefined && !this.#over) this.events.ended(id, fault)
    }
    if (this.#endpoint === null || this.#over) {
      queueMicrotask(() =>
        failed({ phase: 'never-sent', reason: 'eof', message: 'the event stream is gone' }),
      )
      return
    }
    const what = `POST ${this.#endpoint.split('?')[0]}`
    this.#pool.request(
      {
        method: 'POST',
        path: this.#endpoint,
        headers: { ...this.#headers, 'content-type': 'application/json' },
        body: message.bytes,
        headersTimeoutMs: 0,
      },
      {
        headers: (status, headers) => {
          if (status < 200 || status > 299) failed(statusFault(status, headers, Buffer.alloc(0), what, false))
        },
        data: () => undefined,
        end: () => undefined,
        fault: fault => failed(transportFault(fault)),
      },
    )
  }

  abort(): void {}
  useProtocolVersion(): void {}
  openNotificationStream(): void {}

  async close(): Promise<void> {
    this.destroy()
  }

  destroy(): void {
    this.#over = true
    this.#stream?.abort()
    this.#pool.destroy()
    this.#onStart?.reject({ phase: 'never-sent', reason: 'aborted', message: 'was stopped while it started' })
    this.#onStart = null
  }

  get #what(): string {
    return `GET ${this.#url.pathname}`
  }

  #openStream(): void {
    const parser = new SseParser(LIMITS.upstreamMessageBytes, {
      event: event => this.#event(event),
      retry: () => undefined,
      overflow: total => this.events.noise(`an event of ${total} bytes was dropped: it is too large`),
    })
    this.#stream = this.#pool.request(
      {
        method: 'GET',
        path: this.#url.pathname + this.#url.search,
        headers: { ...this.#headers, accept: 'text/event-stream' },
        headersTimeoutMs: this.timeouts.start,
      },
      {
        headers: (status, headers) => this.#opened(status, headers),
        data: chunk => parser.push(chunk),
        end: () => this.#end({ phase: 'unknown', reason: 'eof', message: 'ended its event stream' }),
        fault: fault => this.#end(transportFault(fault)),
      },
    )
  }

  #opened(status: number, headers: Readonly<Record<string, string>>): void {
    if (status !== 200) this.#end(statusFault(status, headers, Buffer.alloc(0), this.#what, false))
    else if (!(headers['content-type'] ?? '').startsWith('text/event-stream')) {
      this.#end(notMcp(this.#what, headers['content-type'] ?? '', Buffer.alloc(0)))
    }
  }

  #event(event: SseEvent): void {
    if (this.#over) return
    if (event.event === 'endpoint') this.#useEndpoint(Buffer.from(event.data).toString('utf8').trim())
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
