import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'

const SWEEP_MS = 1_000

interface Grave {
  readonly at: number
  /** In its grace it may still be answered; then the server may be going on with it; `known` is only its id. */
  state: 'in-grace' | 'stuck' | 'known'
}

/**
 * Requests that nobody waits for any more. A late answer to one is swallowed for a minute. A cancelled one that is not
 * answered within a grace of 5 s may be going on at the server: it counts as stuck.
 */
export class CancelledRequests {
  /** In order of burial. */
  readonly #graves = new Map<number, Grave>()
  #stuck = 0
  #timer: Timer | null = null

  constructor(
    private readonly clock: Clock,
    /** As many are stuck as may be, or more. */
    private readonly onStuck: (count: number) => void,
  ) {}

  get stuck(): number {
    return this.#stuck
  }

  /** Nobody told the server; only its answer has to be swallowed. */
  bury(id: number): void {
    this.#add(id, 'known')
  }

  /** The server was told to stop. */
  cancel(id: number): void {
    this.#add(id, 'in-grace')
    this.#timer ??= this.clock.after(SWEEP_MS, () => this.#sweep())
  }

  /** True when that id is known, so that its answer is no surprise. */
  answered(id: number): boolean {
    const grave = this.#graves.get(id)
    if (!grave || this.#isOld(grave)) return false
    this.#settle(grave)
    return true
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #add(id: number, state: Grave['state']): void {
    this.#graves.set(id, { at: this.clock.now(), state })
    for (const [oldest, grave] of this.#graves) {
      if (this.#graves.size <= LIMITS.tombstones && !this.#isOld(grave)) return
      this.#settle(grave)
      this.#graves.delete(oldest)
    }
  }

  #isOld(grave: Grave): boolean {
    return this.clock.now() - grave.at >= LIMITS.tombstoneMs
  }

  #settle(grave: Grave): void {
    if (grave.state === 'stuck') this.#stuck -= 1
    grave.state = 'known'
  }

  /** One timer for all, and only while something is cancelled. */
  #sweep(): void {
    this.#timer = null
    const now = this.clock.now()
    let left = false
    for (const [id, grave] of this.#graves) {
      if (this.#isOld(grave)) {
        this.#settle(grave)
        this.#graves.delete(id)
        continue
      }
      if (grave.state === 'known') continue
      left = true
      if (grave.state === 'stuck' || now - grave.at < LIMITS.cancelGraceMs) continue
      grave.state = 'stuck'
      this.#stuck += 1
    }
    if (left) this.#timer = this.clock.after(SWEEP_MS, () => this.#sweep())
    if (this.#stuck >= LIMITS.stuckRequests) this.onStuck(this.#stuck)
  }
}
