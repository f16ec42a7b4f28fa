import type { ServerResponse } from 'node:http'
import { type Bytes, LIMITS } from '../../model/index.js'
import { SSE_KEEPALIVE } from '../../wire/index.js'
import type { KeepAlive } from './keep-alive.js'

/** The GET stream of a legacy session: notifications that belong to no request. */
export class SessionStream {
  readonly startedAt = 0
  slot = -1
  #over = false

  constructor(
    private readonly res: ServerResponse,
    private readonly keepAlive: KeepAlive,
    private readonly closed: () => void,
  ) {
    res.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
    res.flushHeaders()
    res.on('close', () => this.close())
    keepAlive.add(this)
  }

  write(event: Bytes): void {
    if (this.#over) return
    // A client that does not read is cut off, not buffered for; it can come back and list again.
    if (this.res.writableLength > LIMITS.clientBufferBytes) this.res.destroy()
    else this.res.write(event)
  }

  stayAlive(): void {
    if (this.res.writableLength === 0) this.write(SSE_KEEPALIVE)
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.keepAlive.remove(this)
    this.res.end()
    this.closed()
  }
}
