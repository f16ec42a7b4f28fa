import type { Clock, Timer } from '../runtime/ports.js'
import type { TransportFault } from './transport.js'

/** How long calls under way may put the end off. */
const PATIENCE_MS = 60_000
const LOOK_MS = 1_000

/** Ends a connection that is of no more use, but not in the middle of calls that may still end well. */
export class Recycler {
  #timer: Timer | null = null
  #isDue = false

  constructor(
    private readonly clock: Clock,
    /** Calls that somebody waits for. */
    private readonly waiting: () => number,
    private readonly fail: (fault: TransportFault) => void,
  ) {}

  /** True once its end is only a matter of time. */
  get isDue(): boolean {
    return this.#isDue
  }

  /** As soon as nobody waits for an answer, after a minute at most. */
  whenIdle(fault: TransportFault): void {
    if (this.#isDue) return
    this.#isDue = true
    const until = this.clock.now() + PATIENCE_MS
    const look = () => {
      if (this.waiting() === 0 || this.clock.now() >= until) this.fail(fault)
      else this.#timer = this.clock.after(LOOK_MS, look)
    }
    look()
  }

  stop(): void {
    this.#isDue = true
    this.#timer?.cancel()
  }
}
