import { type Dispatcher, Pool } from 'undici'
import type { Dialer, HttpExchange, HttpFault, HttpHandler, HttpPool, HttpRequest } from '../runtime/ports.js'
import { localFault } from './local-faults.js'

/** Sockets to one origin: more than the calls that may be in flight, plus streams. */
const MAX_SOCKETS = 256

export const undiciDialer: Dialer = {
  pool: (origin, options) => new UndiciPool(origin, options.connectTimeoutMs),
}

class UndiciPool implements HttpPool {
  readonly #pool: Pool

  constructor(
    private readonly origin: string,
    connectTimeoutMs: number,
  ) {
    this.#pool = new Pool(origin, {
      connections: MAX_SOCKETS,
      pipelining: 1,
      connect: { timeout: connectTimeoutMs },
      // Streams may be quiet for hours; the idle rules are the gateway's own.
      bodyTimeout: 0,
      headersTimeout: 0,
      keepAliveTimeout: 30_000,
      maxHeaderSize: 16 * 1024,
    })
  }

  request(request: HttpRequest, handler: HttpHandler): HttpExchange {
    const exchange = new Exchange(this.origin, handler)
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
    void this.#pool.destroy().catch(() => undefined)
  }
}

class Exchange implements HttpExchange, Dispatcher.DispatchHandler {
  #controller: Dispatcher.DispatchController | null = null
  #over = false
  #handedOver = false

  constructor(
    private readonly origin: string,
    private readonly handler: HttpHandler,
  ) {}

  /** From now on the caller knows the exchange. */
  handedOver(): void {
    this.#handedOver = true
  }

  abort(): void {
    if (this.#over) return
    this.#over = true
    this.#controller?.abort(new Error('aborted'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new Error('aborted'))
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    if (this.#over || status < 200) return
    this.handler.headers(status, flatten(headers))
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over) this.handler.data(chunk)
  }

  onResponseEnd(): void {
    if (this.#over) return
    this.#over = true
    this.handler.end()
  }

  onResponseError(_: Dispatcher.DispatchController | null, cause: Error): void {
    // A refused header or a closed pool is reported from within the call, before the caller could know the exchange.
    if (!this.#handedOver) return queueMicrotask(() => this.#fail(cause))
    this.#fail(cause)
  }

  #fail(cause: Error): void {
    if (this.#over) return
    this.#over = true
    this.handler.fault(faultOf(cause, this.#controller !== null, this.origin))
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
  const isTls = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|EPROTO)/.test(
    code,
  )
  if (isTls) return { phase, reason: 'tls', message: `TLS with ${host} failed: ${cause.message}`, cause }
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
