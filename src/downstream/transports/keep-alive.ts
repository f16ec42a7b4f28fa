import { LIMITS } from '../../model/index.js'
import type { Clock, Timer } from '../../runtime/ports.js'

interface Waiting {
  readonly startedAt: number
  stayAlive(): void
}

/** One timer for all open answers: a timer for each would cost more than most calls do. */
export class KeepAlive {
  readonly #waiting = new Set<Waiting>()
  #timer: Timer | null = null

  constructor(private readonly clock: Clock) {}

  now(): number {
    return this.clock.now()
  }

  add(waiting: Waiting): void {
    this.#waiting.add(waiting)
    this.#timer ??= this.clock.after(LIMITS.keepAliveMs, () => this.#tick())
  }

  remove(waiting: Waiting): void {
    this.#waiting.delete(waiting)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#waiting.clear()
  }

  #tick(): void {
    this.#timer = null
    const now = this.clock.now()
    for (const waiting of this.#waiting) {
      if (now - waiting.startedAt >= LIMITS.keepAliveMs / 2) waiting.stayAlive()
    }
    if (this.#waiting.size > 0) this.#timer = this.clock.after(LIMITS.keepAliveMs, () => this.#tick())
  }
}
