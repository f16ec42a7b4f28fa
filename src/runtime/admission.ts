import { FairQueue } from '../core/admit/index.js'
import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from './ports.js'

interface Waiter {
  readonly principal: string
  readonly go: () => void
  readonly refuse: () => void
  timer: Timer | null
}

const RAMP_STEP_MS = 500

/** The bulkhead of one server: so many requests at a time, a short fair queue before it, and nothing beyond. */
export class Admission {
  #inFlight = 0
  /** After an outage the full load comes back in steps. 0 = no ramp. */
  #rampUntil = 0
  /** Under way when the ramp began: they may wait for what was lost in the outage, and must not keep new ones out. */
  #before = 0
  readonly #queue = new FairQueue<Waiter>(LIMITS.queuePerUpstream)

  constructor(
    private max: number,
    private readonly clock: Clock,
  ) {}

  get inFlight(): number {
    return this.#inFlight
  }

  get queued(): number {
    return this.#queue.size
  }

  resize(max: number): void {
    this.max = max
    this.#admitNext()
  }

  /** Takes a place if one is free; it must be given back with `leave`. */
  tryEnter(): boolean {
    if (this.#queue.size > 0 || this.#inFlight >= this.#limit()) return false
    this.#inFlight += 1
    return true
  }

  /**
   * Waits for a place; `go` has it then.
   * @returns the way to stop waiting; null when the queue is full
   */
  wait(principal: string, ms: number, go: () => void, refuse: () => void): (() => void) | null {
    const waiter: Waiter = { principal, go, refuse, timer: null }
    if (!this.#queue.push(principal, waiter)) return null
    const stop = () => {
      waiter.timer?.cancel()
      return this.#queue.remove(principal, waiter)
    }
    waiter.timer = this.clock.after(ms, () => {
      if (stop()) refuse()
    })
    return stop
  }

  /** Whoever waits has to look elsewhere. */
  dismiss(): void {
    for (let waiter = this.#queue.shift(); waiter; waiter = this.#queue.shift()) {
      waiter.timer?.cancel()
      waiter.refuse()
    }
  }

  leave(): void {
    this.#inFlight -= 1
    if (this.#queue.size > 0) this.#admitNext()
  }

  /** The server came back from an outage: not everything at once. */
  ramp(): void {
    this.#rampUntil = this.clock.now() + LIMITS.slowStartMs
    this.#before = this.#inFlight
    this.#climb()
  }

  #climb(): void {
    if (this.#rampUntil === 0) return
    this.#admitNext()
    if (this.clock.now() >= this.#rampUntil) this.#rampUntil = 0
    else this.clock.after(RAMP_STEP_MS, () => this.#climb())
  }

  #admitNext(): void {
    while (this.#queue.size > 0 && this.#inFlight < this.#limit()) {
      const waiter = this.#queue.shift()
      if (!waiter) return
      waiter.timer?.cancel()
      this.#inFlight += 1
      waiter.go()
    }
  }

  #limit(): number {
    if (this.#rampUntil === 0) return this.max
    const left = this.#rampUntil - this.clock.now()
    if (left <= 0) return this.max
    const step = Math.max(1, Math.floor(this.max * (1 - left / LIMITS.slowStartMs)))
    return Math.min(this.max, this.#before + step)
  }
}
