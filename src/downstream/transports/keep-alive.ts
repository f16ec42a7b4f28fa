import { LIMITS } from '../../model/index.js'
import type { Clock, Timer } from '../../runtime/ports.js'

interface Waiting {
  readonly startedAt: number
  /** Place in the list of those who wait; the list's own. */
  slot: number
  stayAlive(): void
}

/** One timer for all open answers: a timer for each would cost more than most calls do. */
export class KeepAlive {
  readonly #waiting: Waiting[] = []
  #timer: Timer | null = null

  constructor(private readonly clock: Clock) {}

  now(): number {
    return this.clock.now()
  }

  add(waiting: Waiting): void {
    waiting.slot = this.#waiting.length
    this.#waiting.push(waiting)
    this.#timer ??= this.clock.after(LIMITS.keepAliveMs, () => this.#tick())
  }

  remove(waiting: Waiting): void {
    if (this.#waiting[waiting.slot] !== waiting) return
    const last = this.#waiting.pop()
    if (!last || last === waiting) return
    this.#waiting[waiting.slot] = last
    last.slot = waiting.slot
  }

  stop(): void {
    this.#timer?.cancel()
    this.#waiting.length = 0
  }

  #tick(): void {
    this.#timer = null
    const now = this.clock.now()
    for (const waiting of [...this.#waiting]) {
      if (now - waiting.startedAt >= LIMITS.keepAliveMs / 2) waiting.stayAlive()
    }
    if (this.#waiting.length > 0) this.#timer = this.clock.after(LIMITS.keepAliveMs, () => this.#tick())
  }
}
