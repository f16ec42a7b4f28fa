import type { ServerResponse } from 'node:http'
import { type Bytes, LIMITS } from '../../model/index.js'
import type { Timer } from '../../runtime/ports.js'
import { asBuffer, encodeEvent, SSE_KEEPALIVE } from '../../wire/index.js'
import type { AnswerSink } from '../sink.js'
import type { Accepts } from './http-request.js'
import type { KeepAlive } from './keep-alive.js'

const ONE_WRITE_BYTES = 16 * 1024

/** The answer to one POST: a JSON body, or an event stream as soon as anything must come before the answer. */
export class HttpAnswer implements AnswerSink {
  readonly startedAt: number
  slot = -1
  #streaming = false
  #over = false
  #limit: Timer | null = null

  constructor(
    private readonly res: ServerResponse,
    private readonly accepts: Accepts,
    private readonly keepAlive: KeepAlive,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {
    this.startedAt = keepAlive.now()
    if (accepts.stream) keepAlive.add(this)
  }

  get over(): boolean {
    return this.#over
  }

  interim(message: Bytes, droppable: boolean): boolean {
    if (this.#over) return false
    if (!this.#open()) return false
    if (droppable && this.res.writableLength > LIMITS.clientBufferBytes) return true
    this.res.write(encodeEvent(message))
    return true
  }

  final(message: Bytes, status = 200): void {
    this.#limit?.cancel()
    if (this.#over) return
    if (!this.#streaming && (this.accepts.json || status !== 200)) return this.#finishJson(message, status)
    this.#open()
    this.#finish()
    this.res.end(encodeEvent(message))
  }

  /** No answer will come: the client cancelled it. */
  drop(): void {
    this.#limit?.cancel()
    if (this.#over) return
    this.#finish()
    if (this.#streaming) this.res.end()
    else this.res.writeHead(202, this.headers).end()
  }

  /**
   * The client is gone.
   * @param limit ends what still runs for it; cancelled when that ends by itself
   */
  abandon(limit: Timer | null = null): void {
    this.#limit = limit
    this.#finish()
  }

  /** Shows a waiting client that its request is alive. */
  stayAlive(): void {
    if (this.res.writableEnded || this.res.destroyed) return this.#finish()
    if (!this.#over && this.#open() && this.res.writableLength === 0) this.res.write(SSE_KEEPALIVE)
  }

  #finish(): void {
    this.#over = true
    if (this.accepts.stream) this.keepAlive.remove(this)
  }

  #finishJson(message: Bytes, status: number): void {
    this.#finish()
    this.res.writeHead(status, {
      ...this.headers,
      'content-type': 'application/json',
      'content-length': message.length,
    })
    // Head and a short string leave in one write; a Buffer would be a write of its own. Latin-1 keeps the bytes.
    if (message.length <= ONE_WRITE_BYTES) this.res.end(asBuffer(message).toString('latin1'), 'latin1')
    else this.res.end(message)
  }

  #open(): boolean {
    if (this.#streaming) return true
    if (!this.accepts.stream) return false
    this.#streaming = true
    this.res.writeHead(200, {
      ...this.headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
    return true
  }
}
