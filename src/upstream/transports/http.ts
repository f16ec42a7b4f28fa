import { IdRing } from '../../core/tables/index.js'
import { type HttpSpec, LIMITS, type Timeouts } from '../../model/index.js'
import type { Host, HttpExchange, HttpHandler, HttpPool, Timer } from '../../runtime/ports.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { type AnswerReader, readAnswer } from './http-answer.js'
import { NotificationStream } from './notification-stream.js'
import { answeredId, oversized } from './oversized.js'

const MAX_REDIRECTS = 3
const FAREWELL_MS = 2_000
/** An answer stream that its server leaves open after the answer is dropped at the second look. */
const LINGER_MS = 10_000
/** How long requests of a lost session may take to be told so themselves. */
const LAST_WORDS_MS = 1_000
const GONE: TransportFault = {
  phase: 'never-sent',
  reason: 'session-lost',
  message: 'was not sent: the server no longer knows the session',
  fatal: true,
}
const EVENT_STREAM = 'text/event-stream'
/** Without it, any packing of the answer would be allowed. */
export const PLAIN = { 'accept-encoding': 'identity' }
const POSTED = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  ...PLAIN,
}
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
  /** Where the last redirect led: for the exchanges that have no body to be sent twice. */
  #landed: string | null = null
  #session: string | null = null
  #version: string | null = null
  /** The server does not know the session any more; what was under way is waited for. */
  #lost: TransportFault | null = null
  /** Sent after that, and not yet told so. */
  readonly #refused = new Set<number>()
  #sweeper: Timer | null = null
  #seenBySweep = 0
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
    if (this.#lost) return this.#refuse(message)
    const post = new Post(message)
    if (message.id !== undefined) {
      this.#posts.set(message.id, post)
      this.#sweeper ??= this.host.clock.after(LINGER_MS, () => this.#sweep())
    }
    this.#post(post, this.#path, 0)
  }

  abort(id: number): void {
    this.#posts.delete(id)?.abort()
    if (this.#lost && this.#posts.size === 0) this.#leave(this.#lost)
  }

  useProtocolVersion(version: string | null): void {
    this.#version = version
  }

  openNotificationStream(): void {
    if (this.#over || this.#notifications) return
    this.#notifications = new NotificationStream(this.host, this.#pool, {
      path: () => this.#landed ?? this.#path,
      headers: () => this.#headers({ accept: EVENT_STREAM, ...PLAIN }),
      inSession: () => this.#session !== null,
      message: bytes => this.events.message(bytes, null),
      tooLarge: (prefix, suffix) => this.#dropped(answeredId(prefix, suffix)),
      sessionLost: fault => this.#lose(fault),
    })
    this.#notifications.open()
  }

  fail(fault: TransportFault): void {
    if (this.#over) return
    const farewell = this.close()
    this.events.closed(fault)
    void farewell
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
    this.#sweeper?.cancel()
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
    const { id, bytes, headers } = post.message
    post.exchange = this.#pool.request(
      {
        method: 'POST',
        path,
        headers: this.#headers({ ...headers, ...POSTED }),
        body: bytes,
        // The headers of an answer may come with it: how long that may take is the request's own affair.
        headersTimeoutMs: id === undefined ? LIMITS.receiptMs : 0,
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
        // Of messages for this one alone, also a permanent one: the configured URL stays in charge.
        this.#landed = target
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
    if (this.#lost && this.#posts.size === 0) this.#leave(this.#lost)
  }

  /** A broken answer stream of a legacy server, taken up again behind its last event. */
  #resume(post: Post, lastEventId: string, afterMs: number, handler: HttpHandler): void {
    if (post.over || this.#over) return
    post.timer = this.host.clock.after(afterMs, () => {
      if (post.over || this.#over) return
      const headers = this.#headers({ accept: EVENT_STREAM, ...PLAIN, 'last-event-id': lastEventId })
      const path = this.#landed ?? this.#path
      post.exchange = this.#pool.request(
        // The server has nothing to think about.
        { method: 'GET', path, headers, headersTimeoutMs: LIMITS.receiptMs },
        handler,
      )
    })
  }

  #refuse({ id }: OutgoingMessage): void {
    if (id === undefined) return
    this.#refused.add(id)
    // A later turn: the caller is still inside `send`.
    queueMicrotask(() => this.#tellRefused())
  }

  #tellRefused(): void {
    for (const id of this.#refused) {
      this.#refused.delete(id)
      if (!this.#over) this.events.ended(id, GONE)
    }
  }

  /** Sockets of streams that are of no use any more would add up. */
  #sweep(): void {
    this.#sweeper = null
    let newest = this.#seenBySweep
    for (const post of this.#posts.values()) {
      const id = post.message.id as number
      if (id > newest) newest = id
      if (id <= this.#seenBySweep && this.events.awaits?.(id) === false) this.abort(id)
    }
    this.#seenBySweep = newest
    if (this.#posts.size > 0) this.#sweeper = this.host.clock.after(LINGER_MS, () => this.#sweep())
  }

  #sameOrigin(location: string, path: string): string | null {
    const base = new URL(path, this.#url)
    if (!URL.canParse(location, base.href)) return null
    const target = new URL(location, base)
    return target.origin === this.#url.origin ? target.pathname + target.search : null
  }

  #dropped(id: number | null): void {
    const fault = oversized('an event')
    if (id === null) this.events.noise(fault.message, 'violation')
    else this.events.ended(id, fault)
  }

  /** Nothing new is sent. What is under way is about to hear the same from the server, and is given a moment for it. */
  #lose(fault: TransportFault): void {
    if (this.#over || this.#lost) return
    this.#lost = fault
    if (this.#posts.size === 0) return this.#leave(fault)
    this.#sweeper?.cancel()
    this.#sweeper = this.host.clock.after(LAST_WORDS_MS, () => this.#leave(fault))
  }

  #leave(fault: TransportFault): void {
    if (this.#over) return
    this.#session = null
    this.#tellRefused()
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
        {
          method: 'DELETE',
          path: this.#landed ?? this.#path,
          headers: this.#headers({}),
          headersTimeoutMs: FAREWELL_MS,
        },
        { headers: done, data: () => undefined, end: done, fault: done },
      )
    })
  }
}

export function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
