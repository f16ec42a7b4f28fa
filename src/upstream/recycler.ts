import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'
import type { CancelledRequests } from './cancelled.js'
import type { TransportFault } from './transport.js'

/** How long calls under way may put the end off. */
const PATIENCE_MS = 60_000
const LOOK_MS = 1_000
const PING_MS = 5_000

export interface Recyclable {
  readonly clock: Clock
  readonly cancelled: CancelledRequests
  /** Calls that somebody waits for. */
  waiting(): number
  /** Asks the server whether it is there. Returns the way to give up. */
  ping(answered: () => void): () => void
}

/** Ends a connection that is of no more use, but not in the middle of calls that may still end well. */
export class Recycler {
  #timer: Timer | null = null
  #isDue = false
  #asking = false

  constructor(
    private readonly worn: Recyclable,
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
    this.#timer?.cancel()
    const until = this.worn.clock.now() + PATIENCE_MS
    const look = () => {
      if (this.worn.waiting() === 0 || this.worn.clock.now() >= until) this.fail(fault)
      else this.#timer = this.worn.clock.after(LOOK_MS, look)
    }
    look()
  }

  /**
   * So many cancelled requests were never answered. That is how a server should treat them (2025-11-25, cancellation),
   * so silence alone proves nothing: one that shows that it goes on, or that does not answer a ping either, is stuck.
   */
  doubt(): void {
    if (this.#isDue || this.#asking) return
    const { cancelled, clock } = this.worn
    if (cancelled.provenStuck >= LIMITS.stuckRequests) return this.whenIdle(stuck(cancelled.provenStuck))
    this.#asking = true
    const giveUp = this.worn.ping(() => {
      this.#asking = false
      this.#timer?.cancel()
      cancelled.forgiveSilent()
    })
    this.#timer = clock.after(PING_MS, () => {
      this.#asking = false
      giveUp()
      // Late answers may have come meanwhile.
      if (cancelled.stuck > 0) this.whenIdle(stuck(cancelled.stuck))
    })
  }

  stop(): void {
    this.#isDue = true
    this.#timer?.cancel()
  }
}

function stuck(count: number): TransportFault {
  return { phase: 'unknown', reason: 'stuck', message: `goes on with ${count} requests that were cancelled` }
}
