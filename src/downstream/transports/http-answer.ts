import type { ServerResponse } from 'node:http'
import type { Bytes } from '../../model/index.js'
import type { Timer } from '../../runtime/ports.js'
import { asBuffer, encodeEvent, SSE_KEEPALIVE } from '../../wire/index.js'
import type { AnswerSink } from '../sink.js'
import type { AnswerShelf, Kept, Unfinished } from './answer-shelf.js'
import type { ClientBuffers } from './client-buffers.js'
import { type Accepts, EVENT_STREAM } from './http-request.js'
import type { KeepAlive } from './keep-alive.js'
import { Outflow, watchRest } from './outflow.js'

const ONE_WRITE_BYTES = 16 * 1024
const SMALL_BYTES = 64 * 1024

/** What all answers of one face share. */
export interface AnswerRoom {
  readonly keepAlive: KeepAlive
  readonly buffers: ClientBuffers
}

/**
 * The answer to one POST: a JSON body, or an event stream as soon as anything must come before the answer. The stream of a
 * session may break and go on as the answer to a GET.
 */
export class HttpAnswer implements AnswerSink, Unfinished {
  readonly startedAt: number
  slot = -1
  #out: Outflow | null = null
  #over = false
  #detached = false
  #limit: Timer | null = null
  #gone: (() => Timer | null) | null = null
  /** The number of the stream on the shelf; 0 = none. */
  #stream = 0
  #events = 0

  constructor(
    private res: ServerResponse,
    private readonly accepts: Accepts,
    private readonly room: AnswerRoom,
    private readonly headers: Readonly<Record<string, string>> | undefined = undefined,
    /** Where the client of a session finds the stream again when it broke. */
    private readonly shelf: AnswerShelf | null = null,
  ) {
    this.startedAt = room.keepAlive.now()
    if (accepts.stream) room.keepAlive.add(this)
  }

  get over(): boolean {
    return this.#over
  }

  interim(message: Bytes, slot: string | null): boolean {
    if (this.#over) return false
    if (this.#detached) return slot !== null
    const out = this.#open()
    return out?.write(this.#event(message), slot) ?? false
  }

  final(message: Bytes, status = 200): void {
    this.#limit?.cancel()
    if (this.#over) return
    if (this.#stream > 0) this.#shelve({ event: this.#events + 1, message })
    if (this.#detached) return this.#finish()
    if (!this.#out && (this.accepts.json || status !== 200)) return this.#finishJson(message, status)
    const out = this.#open()
    const event = this.#event(message)
    this.#finish()
    out?.answer(event)
    out?.end()
  }

  /** No answer will come: the client cancelled it. */
  drop(): void {
    this.#limit?.cancel()
    if (this.#over) return
    this.#finish()
    if (this.#stream > 0) this.#shelve(null)
    if (this.#detached) return
    if (this.#out) this.#out.end()
    else this.res.writeHead(202, this.headers).end()
  }

  /**
   * The client is gone. What has a shelf goes on without it; the client may come back.
   * @param gone what still runs ends by the timer that it returns, if any
   */
  abandon(gone: () => Timer | null): void {
    if (this.#over) return
    this.#gone = gone
    this.#limit = gone()
    this.#out = null
    if (this.shelf) {
      this.#detached = true
      this.room.keepAlive.remove(this)
    } else this.#finish()
  }

  /** The client came back for what is still to come. */
  resume(res: ServerResponse): void {
    const before = this.res
    this.#limit?.cancel()
    if (this.#detached) this.room.keepAlive.add(this)
    this.#detached = false
    this.res = res
    this.#start(EVENT_STREAM)
    res.flushHeaders()
    res.on('close', () => {
      if (this.res === res && this.#gone) this.abandon(this.#gone)
    })
    before.destroy()
  }

  /** Whether `res` is the response that this answer goes to now. */
  goesTo(res: ServerResponse): boolean {
    return this.res === res
  }

  /** Shows a waiting client that its request is alive. */
  stayAlive(): void {
    if (this.res.writableEnded || this.res.destroyed) return this.#finish()
    if (this.#over || this.#detached) return
    const out = this.#open()
    if (out?.isClear()) out.write(SSE_KEEPALIVE, 'alive')
  }

  #finish(): void {
    this.#over = true
    if (this.accepts.stream) this.room.keepAlive.remove(this)
  }

  #finishJson(message: Bytes, status: number): void {
    this.#finish()
    const head = { ...this.headers, 'content-type': 'application/json', 'content-length': message.length }
    this.res.writeHead(status, head)
    if (message.length > SMALL_BYTES) {
      const out = this.#outflow()
      out.answer(message)
      return out.end()
    }
    // Head and a short string leave in one write; a Buffer would be a write of its own. Latin-1 keeps the bytes.
    if (message.length <= ONE_WRITE_BYTES) this.res.end(asBuffer(message).toString('latin1'), 'latin1')
    else this.res.end(message)
    if (this.res.writableLength > 0) watchRest(this.res, this.room.buffers)
  }

  #event(message: Bytes): Bytes {
    if (this.#stream === 0) return encodeEvent(message)
    this.#events += 1
    return encodeEvent(message, { id: `${this.#stream}-${this.#events}` })
  }

  #open(): Outflow | null {
    if (this.#out) return this.#out
    if (!this.accepts.stream) return null
    const out = this.#start({ ...this.headers, ...EVENT_STREAM })
    if (!this.shelf) return out
    this.#stream = this.shelf.open(this)
    // Before the first event a broken stream would leave nothing to come back to.
    if (this.shelf.primes) out.write(Buffer.from(`id: ${this.#stream}-0\ndata: \n\n`), null)
    return out
  }

  #start(head: Readonly<Record<string, string>>): Outflow {
    this.res.writeHead(200, head)
    this.#out = this.#outflow()
    return this.#out
  }

  #outflow(): Outflow {
    const out = new Outflow(this.res, this.room.buffers)
    this.res.once('close', () => out.dispose())
    return out
  }

  #shelve(kept: Kept | null): void {
    this.shelf?.close(this.#stream, kept)
  }
}

/** Gives an answer once more whose stream broke before its client had it. */
export function repeatAnswer(res: ServerResponse, stream: number, kept: Kept, room: AnswerRoom): void {
  const out = new Outflow(res, room.buffers)
  res.once('close', () => out.dispose())
  res.writeHead(200, EVENT_STREAM)
  out.answer(encodeEvent(kept.message, { id: `${stream}-${kept.event}` }))
  out.end()
}
