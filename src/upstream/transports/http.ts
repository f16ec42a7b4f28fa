import { IdRing } from '../../core/tables/index.js'
import type { HttpSpec, Timeouts } from '../../model/index.js'
import type { Host, HttpExchange, HttpHandler, HttpPool, Timer } from '../../runtime/ports.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { type AnswerReader, readAnswer } from './http-answer.js'
import { NotificationStream } from './notification-stream.js'

const MAX_REDIRECTS = 3
const FAREWELL_MS = 2_000
const ACCEPT = 'application/json, text/event-stream'
const EVENT_STREAM = 'text/event-stream'
/** What the protocol allows in a session id. Others could not be sent back. */
const SESSION_ID = /^[\x21-\x7e]{1,1024}$/
const VERSION_HEADER = 'mcp-protocol-version'

export function createHttpTransport(
  host: Host,
  spec: HttpSpec,
  timeouts: Timeouts,
  events: TransportEvents,
): Transport {
  return new HttpTransport(host, spec, timeouts, events)
}

/** One message on its way: whatever exchange stands for it at the moment, through redirects and resumption. */
class Post implements HttpExchange {
  exchange: HttpExchange | null = null
  timer: Timer | null = null
  over = false

  constructor(readonly message: OutgoingMessage) {}

  /** Drops what is under way; the message may still go on by other means. */
  stop(): void {
    this.timer?.cancel()
    this.exchange?.abort()
  }

  abort(): void {
    this.over = true
    this.stop()
  }
}

/** Streamable HTTP, both eras: one POST a message, its answer as JSON or as an event stream. */
class HttpTransport implements Transport {
  readonly kind = 'http'
  readonly pid = null
  readonly #url: URL
  readonly #path: string
  readonly #pool: HttpPool
  /** As configured; they win over ours, but for what the transport itself depends on. */
  readonly #configured: Record<string, string>
  readonly #posts = new IdRing<Post>()
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
    this.#configured = lowerCase(spec.headers)
  }

  async start(): Promise<void> {}

  send(message: OutgoingMessage): void {
    if (this.#over) return
    const post = new Post(message)
    if (message.id !== undefined) this.#posts.set(message.id, post)
    this.#post(post, this.#path, 0)
  }

  abort(id: number): void {
    this.#posts.delete(id)?.abort()
  }

  useProtocolVersion(version: string | null): void {
    this.#version = version
  }

  openNotificationStream(): void {
    if (this.#over || this.#notifications) return
    this.#notifications = new NotificationStream(this.host, this.#pool, {
      path: this.#path,
      headers: () => this.#headers({ accept: EVENT_STREAM }),
      inSession: () => this.#session !== null,
      message: bytes => this.events.message(bytes, null),
      noise: what => this.events.noise(what),
      sessionLost: fault => this.#lose(fault),
    })
    this.#notifications.open()
  }

  close(): Promise<void> {
    this.#closed ??= this.#sayFarewell().finally(() => this.destroy())
    return this.#closed
  }

  destroy(): void {
    this.#closed ??= Promise.resolve()
    this.#silence()
    this.#pool.destroy()
  }

  /** No event follows. */
  #silence(): void {
    this.#over = true
    this.#notifications?.close()
    for (const post of this.#posts.values()) post.abort()
    this.#posts.clear()
  }

  #headers(own: Readonly<Record<string, string>>): Record<string, string> {
    const headers: Record<string, string> = {}
    if (this.#version !== null) headers[VERSION_HEADER] = this.#version
    if (this.#session !== null) headers['mcp-session-id'] = this.#session
    return Object.assign(headers, this.#configured, own)
  }

  #post(post: Post, path: string, redirects: number): void {
    const { bytes, headers } = post.message
    post.exchange = this.#pool.request(
      {
        method: 'POST',
        path,
        headers: this.#headers({ ...headers, 'content-type': 'application/json', accept: ACCEPT }),
        body: bytes,
        headersTimeoutMs: 0,
      },
      readAnswer(this.#reader(post, path, redirects)),
    )
  }

  #reader(post: Post, path: string, redirects: number): AnswerReader {
    const { id, headers } = post.message
    const modern = headers !== undefined && VERSION_HEADER in headers
    return {
      expectsAnswer: id !== undefined,
      what: `POST ${this.#url.pathname}`,
      inSession: this.#session !== null,
      resume: modern || id === undefined ? null : (...where) => this.#resume(post, ...where),
      message: bytes => {
        if (!post.over && !this.#over) this.events.message(bytes, id ?? null)
      },
      sessionId: session => {
        // A modern request belongs to no session, whatever the server says.
        if (!modern && SESSION_ID.test(session)) this.#session = session
      },
      redirect: location => {
        const target = this.#sameOrigin(location, path)
        if (target === null || redirects >= MAX_REDIRECTS || post.over || this.#over) return false
        // For this message alone, also a permanent one: the configured URL stays in charge.
        this.#post(post, target, redirects + 1)
        return true
      },
      stop: () => post.stop(),
      ended: fault => this.#ended(post, fault),
    }
  }

  #ended(post: Post, fault: TransportFault | null): void {
    if (post.over || this.#over) return
    post.over = true
    const { id } = post.message
    if (id !== undefined) {
      this.#posts.delete(id)
      this.events.ended(id, fault)
    }
    if (fault?.reason === 'session-lost') this.#lose(fault)
  }

  /** A broken answer stream of a legacy server, taken up again behind its last event. */
  #resume(post: Post, lastEventId: string, afterMs: number, handler: HttpHandler): void {
    if (post.over || this.#over) return
    post.timer = this.host.clock.after(afterMs, () => {
      if (post.over || this.#over) return
      const headers = this.#headers({ accept: EVENT_STREAM, 'last-event-id': lastEventId })
      post.exchange = this.#pool.request(
        { method: 'GET', path: this.#path, headers, headersTimeoutMs: 0 },
        handler,
      )
    })
  }

  #sameOrigin(location: string, path: string): string | null {
    const base = new URL(path, this.#url)
    if (!URL.canParse(location, base.href)) return null
    const target = new URL(location, base)
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
    if (this.#over) return Promise.resolve()
    this.#silence()
    if (this.#session === null) return Promise.resolve()
    return new Promise(resolve => {
      const timer = this.host.clock.after(FAREWELL_MS, resolve)
      const done = () => {
        timer.cancel()
        resolve()
      }
      this.#pool.request(
        { method: 'DELETE', path: this.#path, headers: this.#headers({}), headersTimeoutMs: FAREWELL_MS },
        { headers: done, data: () => undefined, end: done, fault: done },
      )
    })
  }
}

export function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
