import type { ServerResponse } from 'node:http'
import { SmallTable } from '../../core/tables/index.js'
import { type Bytes, LIMITS } from '../../model/index.js'
import type { Timer } from '../../runtime/ports.js'
import type { Backlog, ClientBuffers } from './client-buffers.js'

/** An answer that is still being made, and can go on on another stream. */
export interface Unfinished {
  resume(res: ServerResponse): void
}

/** An answer that was given, in case its client did not get it. */
export interface Kept {
  /** The number of the event that it was, or would have been. */
  readonly event: number
  readonly message: Bytes
}

interface Dated extends Kept {
  readonly stream: number
  readonly until: number
}

/**
 * The event streams of one session that its client may come back to with Last-Event-ID: those whose answer is still being
 * made, and for a while the answers of those that ended. Their events are named `STREAM-EVENT`.
 */
export class AnswerShelf implements Backlog {
  readonly #unfinished = new SmallTable<number, Unfinished>()
  /** Oldest first. */
  #kept: Dated[] = []
  #streams = 0
  #bytes = 0
  #timer: Timer | null = null

  constructor(
    private readonly buffers: ClientBuffers,
    /** Whether the client knows events without data, which only name the place to come back to. */
    readonly primes: boolean,
  ) {}

  get bytes(): number {
    return this.#bytes
  }

  /** @returns the number of the stream */
  open(answer: Unfinished): number {
    this.#streams += 1
    this.#unfinished.set(this.#streams, answer)
    return this.#streams
  }

  /** The stream got its answer, or none (null). */
  close(stream: number, kept: Kept | null): void {
    if (!this.#unfinished.delete(stream) || !kept || kept.message.length > LIMITS.keptAnswerBytes) return
    const { clock } = this.buffers
    this.#kept.push({ ...kept, stream, until: clock.now() + LIMITS.detachedMs })
    this.#timer ??= clock.after(LIMITS.detachedMs, () => this.#expire())
    this.#bytes += kept.message.length
    while (this.#bytes > LIMITS.keptAnswerBytes) this.#dropOldest()
    this.buffers.add(this)
    this.buffers.changed(kept.message.length)
  }

  unfinished(stream: number): Unfinished | undefined {
    return this.#unfinished.get(stream)
  }

  kept(stream: number): Kept | undefined {
    return this.#kept.find(kept => kept.stream === stream)
  }

  /** The session is over. */
  clear(): void {
    this.#unfinished.clear()
    this.cut()
  }

  /** Nobody reads here, so nobody is slow. */
  stalledFor(): number {
    return 0
  }

  cut(): void {
    while (this.#kept.length > 0) this.#dropOldest()
    this.#timer?.cancel()
    this.#timer = null
  }

  #dropOldest(): void {
    const length = this.#kept.shift()?.message.length ?? 0
    this.#bytes -= length
    this.buffers.changed(-length)
    if (this.#kept.length === 0) this.buffers.remove(this)
  }

  #expire(): void {
    this.#timer = null
    const now = this.buffers.clock.now()
    while ((this.#kept[0]?.until ?? Number.POSITIVE_INFINITY) <= now) this.#dropOldest()
    const next = this.#kept[0]
    if (next) this.#timer = this.buffers.clock.after(next.until - now, () => this.#expire())
  }
}
