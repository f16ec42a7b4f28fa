import { LIMITS } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

/** A sign of life says so much of what comes next: one that went on for nobody and fell silent has ended. */
const SIGN_MS = 10_000

interface Grave {
  readonly at: number
  /** The server was told to stop. */
  readonly cancelled: boolean
  answered: boolean
}

/**
 * Requests that nobody waits for any more. A late answer to one is swallowed for a minute. Silence after a cancellation is
 * what the protocol wants, so it says nothing; a request that shows progress when its grace of 5 s is over goes on for
 * nobody, until it is answered or has been silent for a while.
 */
export class CancelledRequests {
  /** In order of burial. */
  readonly #graves = new Map<number, Grave>()
  /** When those that go on were heard last. */
  readonly #stuck = new Map<number, number>()

  constructor(
    private readonly clock: Clock,
    /** As many are stuck as may be, or more. */
    private readonly onStuck: (count: number) => void,
  ) {}

  get stuck(): number {
    const now = this.clock.now()
    for (const [id, heardAt] of this.#stuck) if (now - heardAt >= SIGN_MS) this.#stuck.delete(id)
    return this.#stuck.size
  }

  /** Nobody told the server; only its answer has to be swallowed. */
  bury(id: number): void {
    this.#add(id, false)
  }

  /** The server was told to stop. */
  cancel(id: number): void {
    this.#add(id, true)
  }

  /** True when that id is known, so that its answer is no surprise. */
  answered(id: number): boolean {
    this.#stuck.delete(id)
    const grave = this.#graves.get(id)
    if (!grave || this.#isOld(grave)) return false
    grave.answered = true
    return true
  }

  /** The server reports progress of a request that nobody waits for. */
  heard(id: number): void {
    if (!this.#stuck.has(id) && !this.#goesOn(id)) return
    this.#stuck.set(id, this.clock.now())
    const count = this.stuck
    if (count >= LIMITS.stuckRequests) this.onStuck(count)
  }

  #goesOn(id: number): boolean {
    const grave = this.#graves.get(id)
    if (!grave?.cancelled || grave.answered || this.#isOld(grave)) return false
    return this.clock.now() - grave.at >= LIMITS.cancelGraceMs
  }

  #add(id: number, cancelled: boolean): void {
    this.#graves.set(id, { at: this.clock.now(), cancelled, answered: false })
    for (const [oldest, grave] of this.#graves) {
      if (this.#graves.size <= LIMITS.tombstones && !this.#isOld(grave)) return
      this.#graves.delete(oldest)
    }
  }

  #isOld(grave: Grave): boolean {
    return this.clock.now() - grave.at >= LIMITS.tombstoneMs
  }
}
