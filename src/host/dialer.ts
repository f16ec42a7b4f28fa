import type { LookupFunction } from 'node:net'
import { type Dispatcher, Pool } from 'undici'
import { LIMITS } from '../model/index.js'
import type {
  Clock,
  Dialer,
  HttpExchange,
  HttpFault,
  HttpHandler,
  HttpPool,
  HttpRequest,
  Timer,
} from '../runtime/ports.js'
import { createClock } from './clock.js'
import { localFault } from './local-faults.js'

/** Sockets to one origin: more than the calls that may be in flight, plus streams. */
const MAX_SOCKETS = 256

/** Without a hint of the peer. Common servers close an idle connection after 5 s without saying so before. */
const IDLE_MS = 4_000
/** With a hint: so much sooner than the peer means to, and never later than this. */
const IDLE_MARGIN_MS = 2_000
const LONGEST_IDLE_MS = 60_000

export interface DialerOptions {
  /** Replaces the resolver of the machine. Asked for each new connection: nothing is cached here. */
  readonly lookup?: LookupFunction
  /** Certificate authorities to trust instead of the usual ones, PEM. */
  readonly ca?: string
  /** Tells how long the gateway stood still, whenever it did. Default: one of its own. */
  readonly clock?: Clock
  /** Default LIMITS.answerHeadMs. */
  readonly headMs?: number
}

export function createDialer(options: DialerOptions = {}): Dialer {
  const { clock = createClock(), headMs = LIMITS.answerHeadMs, ...connect } = options
  const patience: Patience = { clock, headMs }
  return {
    pool: (origin, { connectTimeoutMs }) =>
      new UndiciPool(origin, { timeout: connectTimeoutMs, ...connect }, patience),
  }
}

/** How long a peer may take from the first byte of an answer to the end of its headers. */
interface Patience {
  readonly clock: Clock
  readonly headMs: number
}

class UndiciPool implements HttpPool {
  #pool: Pool
  /** Pools of before a sleep on which something is still under way. */
  readonly #left = new Set<Pool>()
  readonly #forget: () => void

  constructor(
    private readonly origin: string,
    private readonly connect: Pick<DialerOptions, 'lookup' | 'ca'> & { readonly timeout: number },
    private readonly patience: Patience,
  ) {
    this.#pool = this.#fresh()
    const leave = patience.clock.onStall?.(lateMs => {
      if (lateMs >= IDLE_MS) this.#leaveIdle()
    })
    this.#forget = () => leave?.()
  }

  /** After a sleep an idle connection may lead nowhere; what is under way on one may still end well. */
  #leaveIdle(): void {
    const old = this.#pool
    this.#pool = this.#fresh()
    this.#left.add(old)
    // Resolves once nothing of it is under way.
    void old
      .close()
      .catch(() => undefined)
      .then(() => this.#left.delete(old))
  }

  #fresh(): Pool {
    return new Pool(this.origin, {
      connections: MAX_SOCKETS,
      pipelining: 1,
      connect: { ...this.connect },
      // Streams may be quiet for hours; the idle rules are the gateway's own.
      bodyTimeout: 0,
      headersTimeout: 0,
      keepAliveTimeout: IDLE_MS,
      keepAliveTimeoutThreshold: IDLE_MARGIN_MS,
      keepAliveMaxTimeout: LONGEST_IDLE_MS,
      maxHeaderSize: 16 * 1024,
    })
  }

  request(request: HttpRequest, handler: HttpHandler): HttpExchange {
    const exchange = new Exchange(this.origin, handler, this.patience)
    this.#pool.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: request.headers,
        body: (request.body as Buffer | undefined) ?? null,
        headersTimeout: request.headersTimeoutMs,
      },
      exchange,
    )
    exchange.handedOver()
    return exchange
  }

  destroy(): void {
    this.#forget()
    for (const pool of [this.#pool, ...this.#left]) void pool.destroy().catch(() => undefined)
  }
}

class Exchange implements HttpExchange, Dispatcher.DispatchHandler {
  #controller: Dispatcher.DispatchController | null = null
  #over = false
  #handedOver = false
  /** An answer has begun, and its headers are not complete. */
  #inHead = false
  #headLimit: Timer | null = null

  constructor(
    private readonly origin: string,
    private readonly handler: HttpHandler,
    private readonly patience: Patience,
  ) {}

  /** From now on the caller knows the exchange. */
  handedOver(): void {
    this.#handedOver = true
  }

  abort(): void {
    if (this.#over) return
    this.#end()
    this.#controller?.abort(new Error('aborted'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new Error('aborted'))
  }

  /** The first byte: a server that thinks sends none, so from now on slowness is the connection's own. */
  onResponseStarted(): void {
    this.#inHead = true
    // The headers nearly always come whole, in the same turn; then there is nothing to wait for.
    queueMicrotask(() => {
      if (!this.#inHead || this.#over || this.#headLimit) return
      const { clock, headMs } = this.patience
      this.#headLimit = clock.after(headMs, () => this.#tooSlow(headMs))
    })
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.#headDone()
    if (this.#over || status < 200) return
    this.handler.headers(status, flatten(headers))
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over) this.handler.data(chunk)
  }

  onResponseEnd(): void {
    if (this.#over) return
    this.#end()
    this.handler.end()
  }

  onResponseError(_: Dispatcher.DispatchController | null, cause: Error): void {
    // A refused header or a closed pool is reported from within the call, before the caller could know the exchange.
    if (!this.#handedOver) return queueMicrotask(() => this.#fail(cause))
    this.#fail(cause)
  }

  #fail(cause: Error): void {
    if (this.#over) return
    this.#end()
    this.handler.fault(faultOf(cause, this.#controller !== null, this.origin))
  }

  #tooSlow(headMs: number): void {
    if (this.#over) return
    this.abort()
    const message = `${new URL(this.origin).host} began an answer and did not finish its headers in ${headMs / 1_000} s`
    this.handler.fault({ phase: 'unknown', reason: 'headers-timeout', message })
  }

  #end(): void {
    this.#over = true
    this.#headDone()
  }

  #headDone(): void {
    this.#inHead = false
    this.#headLimit?.cancel()
    this.#headLimit = null
  }
}

function flatten(headers: Record<string, unknown>): Record<string, string> {
  const flat: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers))
    flat[name] = Array.isArray(value) ? value.join(', ') : String(value)
  return flat
}

interface Told {
  readonly reason: HttpFault['reason']
  readonly words: string
}

const BY_CODE: Readonly<Record<string, Told>> = {
  ECONNREFUSED: { reason: 'refused', words: 'connection refused by' },
  EHOSTUNREACH: { reason: 'refused', words: 'no route to' },
  ENETUNREACH: { reason: 'refused', words: 'no route to' },
  ENOTFOUND: { reason: 'dns', words: 'DNS does not know' },
  EAI_AGAIN: { reason: 'dns', words: 'DNS gave no answer for' },
  UND_ERR_CONNECT_TIMEOUT: { reason: 'connect-timeout', words: 'no connection in time to' },
  ETIMEDOUT: { reason: 'connect-timeout', words: 'no connection in time to' },
  UND_ERR_HEADERS_TIMEOUT: { reason: 'headers-timeout', words: 'no answer in time from' },
  ECONNRESET: { reason: 'reset', words: 'connection reset by' },
  EPIPE: { reason: 'reset', words: 'connection closed by' },
  UND_ERR_SOCKET: { reason: 'reset', words: 'connection closed by' },
  UND_ERR_DESTROYED: { reason: 'aborted', words: 'the gateway closed its connections to' },
  UND_ERR_CLOSED: { reason: 'aborted', words: 'the gateway closed its connections to' },
}

/** On a connection that stands, running out of time says that it broke. */
const BY_CODE_LATER: Readonly<Record<string, Told>> = {
  ETIMEDOUT: { reason: 'reset', words: 'connection lost to' },
}

const UNTRUSTED = 'is not trusted: its issuer is not known here'

const BY_CERTIFICATE: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired',
  CERT_NOT_YET_VALID: 'is not valid yet',
  CERT_REVOKED: 'was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another name',
  HOSTNAME_MISMATCH: 'is for another name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is not trusted: it signed itself',
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
}

/** OpenSSL puts its source files and line numbers around the one part that a person can read. */
function tlsReason(cause: Error): string {
  const { reason } = cause as { reason?: unknown }
  return typeof reason === 'string' ? reason : cause.message.trim()
}

/** @param started the request was given to a socket, so its bytes may have left */
function faultOf(cause: Error, started: boolean, origin: string): HttpFault {
  const code = codeOf(cause)
  const host = new URL(origin).host
  const phase = started ? 'unknown' : 'never-sent'
  const local = localFault(code)
  if (local !== null)
    return { phase, reason: 'other', message: `${host} was not reached: ${local}`, local: true, cause }
  const told = (started ? BY_CODE_LATER[code] : undefined) ?? BY_CODE[code]
  if (told) return { phase, reason: told.reason, message: `${told.words} ${host}`, cause }
  const certificate = BY_CERTIFICATE[code]
  if (certificate)
    return { phase, reason: 'tls', message: `the certificate of ${host} ${certificate}`, cause }
  if (/^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|EPROTO)/.test(code))
    return { phase, reason: 'tls', message: `TLS with ${host} failed: ${tlsReason(cause)}`, cause }
  const isGarbage = cause.name === 'HTTPParserError' || /^(UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES_)/.test(code)
  const message = isGarbage ? `${host} sent broken HTTP: ${cause.message}` : `${host}: ${cause.message}`
  return { phase, reason: 'other', message, cause }
}

/** Happy eyeballs hides the codes of its attempts inside an AggregateError. */
function codeOf(cause: Error): string {
  const { code } = cause as NodeJS.ErrnoException
  if (code) return code
  const inner = (cause as { errors?: unknown[] }).errors?.[0] ?? cause.cause
  return inner instanceof Error ? codeOf(inner) : ''
}
