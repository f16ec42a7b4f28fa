import type { ServerResponse } from 'node:http'
import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'
import { encodeEvent, SSE_KEEPALIVE } from '../wire/index.js'

/** One reader of server-sent events. One that does not read is cut off, not buffered for. */
export class EventStream {
  #over = false
  #beat: Timer

  constructor(
    private readonly res: ServerResponse,
    private readonly clock: Clock,
    private readonly closed: () => void,
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
    this.#beat = this.#arm()
  }

  send(event: string, data: unknown, id?: string): void {
    if (this.#over) return
    if (this.res.writableLength > LIMITS.clientBufferBytes) {
      this.res.destroy()
      this.#end()
      return
    }
    this.res.write(
      encodeEvent(Buffer.from(JSON.stringify(data)), { event, ...(id === undefined ? {} : { id }) }),
    )
  }

  close(): void {
    if (this.#over) return
    this.#end()
    this.res.end()
  }

  #arm(): Timer {
    return this.clock.after(LIMITS.keepAliveMs, () => {
      if (this.#over) return
      if (this.res.writableLength === 0) this.res.write(SSE_KEEPALIVE)
      this.#beat = this.#arm()
    })
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#beat.cancel()
    this.closed()
  }
}
