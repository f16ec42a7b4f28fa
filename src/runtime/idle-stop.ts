import type { Clock, Timer } from './ports.js'

/** Tells when nobody used a server for long enough. */
export class IdleStop {
  #lastUsedAt = 0
  #timer: Timer | null = null

  constructor(
    private readonly clock: Clock,
    /** Milliseconds as they are configured now; null = never. */
    private readonly idleMs: () => number | null,
    private readonly isBusy: () => boolean,
    private readonly idle: () => void,
  ) {}

  used(): void {
    this.#lastUsedAt = this.clock.now()
  }

  start(): void {
    this.stop()
    const idleMs = this.idleMs()
    if (idleMs === null) return
    this.used()
    this.#arm(idleMs)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #arm(idleMs: number): void {
    const left = Math.max(10, this.#lastUsedAt + idleMs - this.clock.now())
    this.#timer = this.clock.after(left, () => {
      if (this.isBusy()) this.used()
      else if (this.#lastUsedAt + idleMs <= this.clock.now()) return this.idle()
      this.#arm(idleMs)
    })
  }
}
