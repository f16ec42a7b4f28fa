import type { ServerResponse } from 'node:http'
import type { Bytes } from '../../model/index.js'
import { encodeEvent, SSE_KEEPALIVE } from '../../wire/index.js'
import type { AnswerRoom } from './http-answer.js'
import { EVENT_STREAM } from './http-request.js'
import { Outflow } from './outflow.js'

/** The GET stream of a legacy session: notifications that belong to no request. */
export class SessionStream {
  readonly startedAt = 0
  slot = -1
  #over = false
  readonly #out: Outflow

  constructor(
    res: ServerResponse,
    private readonly room: AnswerRoom,
    private readonly closed: () => void,
  ) {
    this.#out = new Outflow(res, room.buffers)
    res.writeHead(200, EVENT_STREAM)
    res.flushHeaders()
    res.on('close', () => {
      this.#out.dispose()
      this.close()
    })
    room.keepAlive.add(this)
  }

  send(message: Bytes, slot: string | null): void {
    this.#out.write(encodeEvent(message), slot)
  }

  stayAlive(): void {
    if (this.#out.isClear()) this.#out.write(SSE_KEEPALIVE, 'alive')
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.room.keepAlive.remove(this)
    this.#out.end()
    this.closed()
  }
}
