import type { Writable } from 'node:stream'
import { type Bytes, LIMITS } from '../../model/index.js'
import type { Backlog, ClientBuffers } from './client-buffers.js'

/** What is handed to the socket at a time while a client is behind: only a finished write shows that it reads. */
const SLICE_BYTES = 64 * 1024

interface Waiting {
  bytes: Bytes
  readonly slot: string | null
  /** Bytes of it that were handed over. */
  sent: number
}

export interface OutflowEvents {
  /** Everything that waited was taken. */
  drained?(): void
  /** The client was given up. */
  cut?(): void
}

/**
 * The way out to one client. One that keeps up is written to at once. For one that does not, messages wait here: at most
 * LIMITS.clientBufferBytes and its answers, and of those that tell the same thing only the last.
 */
export class Outflow implements Backlog {
  #waiting: Waiting[] = []
  #bytes = 0
  #sending = 0
  #movedAt = 0
  /** Bytes left in the socket that were seen last, while nothing waits here; -1 = not looked at. */
  #rest = -1
  #ending = false
  #over = false

  constructor(
    private readonly out: Writable,
    private readonly buffers: ClientBuffers,
    private readonly events: OutflowEvents = {},
  ) {}

  get bytes(): number {
    return this.#bytes
  }

  /**
   * @param slot see `AnswerSink.interim`
   * @returns false when the message was not taken: too much waits already, or it is over
   */
  write(message: Bytes, slot: string | null): boolean {
    if (this.#over || this.#ending) return false
    if (this.#isFree(message)) {
      this.out.write(message)
      return true
    }
    if (slot !== null && this.#replace(message, slot)) return true
    if (this.#bytes + message.length > LIMITS.clientBufferBytes) return false
    this.#wait(message, slot)
    return true
  }

  /** An answer: it may not be lost and is taken whatever waits already. */
  answer(message: Bytes): void {
    if (this.#over || this.#ending) return
    if (this.#isFree(message)) this.out.write(message)
    else this.#wait(message, null)
  }

  /** Ends the stream behind all that waits. */
  end(): void {
    if (this.#over || this.#ending) return
    this.#ending = true
    if (this.#isIdle()) this.#finish()
  }

  /** Whether the client took all that it was sent; one that did not is watched from now on. */
  isClear(): boolean {
    if (this.#over || !this.#isIdle()) return false
    if (this.out.writableLength === 0) return true
    this.#watchRest()
    return false
  }

  stalledFor(now: number): number {
    if (this.#rest >= 0) this.#lookAtRest(now)
    return this.#bytes === 0 ? 0 : now - this.#movedAt
  }

  cut(): void {
    if (this.#over) return
    this.dispose()
    this.out.destroy()
    this.events.cut?.()
  }

  /** The stream is gone: lets go of all that waits. Idempotent. */
  dispose(): void {
    this.#over = true
    this.#waiting = []
    this.#forget()
  }

  #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#sending === 0
  }

  #isFree(message: Bytes): boolean {
    return this.#isIdle() && this.out.writableLength + message.length <= SLICE_BYTES
  }

  #replace(message: Bytes, slot: string): boolean {
    const found = this.#waiting.find(waiting => waiting.slot === slot && waiting.sent === 0)
    if (!found) return false
    const by = message.length - found.bytes.length
    if (this.#bytes + by > LIMITS.clientBufferBytes) return true
    found.bytes = message
    this.#count(by)
    return true
  }

  #wait(bytes: Bytes, slot: string | null): void {
    if (this.#isIdle()) {
      this.#forget()
      this.#movedAt = this.buffers.clock.now()
    }
    this.#waiting.push({ bytes, slot, sent: 0 })
    this.#count(bytes.length)
    if (!this.#over && this.#sending === 0) this.#send()
  }

  #send(): void {
    const first = this.#waiting[0]
    if (!first) return
    const slice = first.bytes.subarray(first.sent, first.sent + SLICE_BYTES)
    first.sent += slice.length
    if (first.sent === first.bytes.length) this.#waiting.shift()
    this.#sending = slice.length
    this.out.write(slice, () => this.#taken(slice.length))
  }

  #taken(length: number): void {
    if (this.#over) return
    this.#sending = 0
    this.#movedAt = this.buffers.clock.now()
    this.#count(-length)
    if (this.#waiting.length > 0) return this.#send()
    this.buffers.remove(this)
    if (this.#ending) this.#finish()
    else this.events.drained?.()
  }

  #finish(): void {
    this.out.end()
    this.#watchRest()
  }

  // ---- what the socket holds ------------------------------------------------------------------------------

  #watchRest(): void {
    if (this.#rest >= 0 || this.out.writableLength === 0) return
    this.#rest = this.out.writableLength
    this.#movedAt = this.buffers.clock.now()
    this.#count(this.#rest)
  }

  #lookAtRest(now: number): void {
    const rest = this.out.writableLength
    if (rest === 0) return this.#forget()
    if (rest === this.#rest) return
    const by = rest - this.#rest
    this.#rest = rest
    this.#movedAt = now
    this.#count(by)
  }

  // ---- what is counted ------------------------------------------------------------------------------------

  #count(by: number): void {
    this.#bytes += by
    if (by > 0) this.buffers.add(this)
    this.buffers.changed(by)
  }

  #forget(): void {
    const bytes = this.#bytes
    this.#bytes = 0
    this.#rest = -1
    if (bytes > 0) this.buffers.changed(-bytes)
    this.buffers.remove(this)
  }
}

/** Watches a client that did not take a whole answer at once; for answers that went to the socket directly. */
export function watchRest(out: Writable, buffers: ClientBuffers): void {
  const outflow = new Outflow(out, buffers)
  if (!outflow.isClear()) out.once('close', () => outflow.dispose())
}
