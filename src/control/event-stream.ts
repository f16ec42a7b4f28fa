import type { ServerResponse } from 'node:http'
import { type Bytes, LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'
import { encodeEvent, SSE_KEEPALIVE } from '../wire/index.js'

/** The way out to one reader: what waits there is bounded, and a reader that takes nothing for too long is cut off. */
export interface Outlet {
  /** False when the message was not taken: too much waits already. */
  write(message: Bytes, slot: string | null): boolean
  /** Taken whatever waits already. */
  answer(message: Bytes): void
  /** Whether the reader took all that it was sent; one that did not is watched from now on. */
  isClear(): boolean
  /** Ends the stream behind all that waits. */
  end(): void
  /** The stream is gone. Idempotent. */
  dispose(): void
}

/** What waits for readers; it counts with what waits for clients. */
export interface ReaderBuffers {
  /** @param drained told when everything that waited was taken */
  open(res: ServerResponse, drained: () => void): Outlet
  /** Watches a reader that may not have taken all of an answer which was handed over whole. */
  watchRest(res: ServerResponse): void
}

export interface StreamEvents {
  closed(): void
  /** The reader has heard how much it missed, and can be told how things stand now. */
  caughtUp?(): void
}

/**
 * One reader of server-sent events. For one that falls behind as much is kept as for a slow client; what comes then is
 * left out, and it is told how much that was as soon as it has read the rest.
 */
export class EventStream {
  #over = false
  #lost = 0
  #beat: Timer
  readonly #out: Outlet

  constructor(
    res: ServerResponse,
    private readonly clock: Clock,
    buffers: ReaderBuffers,
    private readonly events: StreamEvents,
  ) {
    res.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    res.flushHeaders()
    res.on('close', () => this.#end())
    res.on('error', () => this.#end())
    this.#out = buffers.open(res, () => this.#drained())
    this.#beat = this.#arm()
  }

  send(event: string, data: unknown, id?: string): void {
    if (this.#over) return
    // Nothing overtakes what was left out: the reader hears of that first.
    if (this.#lost > 0 || !this.#out.write(encode(event, data, id), null)) this.#lost += 1
  }

  /** How everything stands: taken whatever its size, for without it the rest makes no sense. */
  sendWhole(event: string, data: unknown, id: string): void {
    if (!this.#over) this.#out.answer(encode(event, data, id))
  }

  close(): void {
    if (this.#over) return
    this.#out.end()
    this.#stop()
  }

  #drained(): void {
    if (this.#over || this.#lost === 0) return
    const count = this.#lost
    this.#lost = 0
    this.send('lost', { count })
    this.events.caughtUp?.()
  }

  #arm(): Timer {
    return this.clock.after(LIMITS.keepAliveMs, () => {
      if (this.#over) return
      if (this.#out.isClear()) this.#out.write(SSE_KEEPALIVE, 'alive')
      this.#beat = this.#arm()
    })
  }

  #end(): void {
    this.#out.dispose()
    this.#stop()
  }

  #stop(): void {
    if (this.#over) return
    this.#over = true
    this.#beat.cancel()
    this.events.closed()
  }
}

function encode(event: string, data: unknown, id?: string): Buffer {
  return encodeEvent(Buffer.from(JSON.stringify(data)), { event, ...(id === undefined ? {} : { id }) })
}
