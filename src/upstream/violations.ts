import { LIMITS } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

const SECOND_MS = 1_000
const MINUTE_MS = 60_000

/**
 * Counts what a server does against the protocol. Each count answers with the reason once it is too much, else null.
 * Before its first message a server may print a banner of any speed: only its length is bounded then.
 */
export class ViolationBudget {
  #spoke = false
  #inARow = 0
  #secondAt = Number.NEGATIVE_INFINITY
  #inSecond = 0
  readonly #violations: number[] = []

  constructor(private readonly clock: Clock) {}

  /** A whole message came. */
  message(): void {
    this.#spoke = true
    this.#inARow = 0
  }

  /** A line came that is no message at all. */
  garbage(what: string): string | null {
    const now = this.clock.now()
    if (now - this.#secondAt >= SECOND_MS) {
      this.#secondAt = now
      this.#inSecond = 0
    }
    this.#inSecond += 1
    this.#inARow += 1
    if (this.#inARow >= LIMITS.garbageLinesInARow)
      return `printed ${LIMITS.garbageLinesInARow} lines in a row that are no messages: ${what}`
    if (this.#spoke && this.#inSecond > LIMITS.garbageLinesPerSecond)
      return `printed more than ${LIMITS.garbageLinesPerSecond} lines in a second that are no messages: ${what}`
    return null
  }

  /** The protocol was broken. */
  violation(what: string): string | null {
    const now = this.clock.now()
    this.#violations.push(now)
    while ((this.#violations[0] ?? now) <= now - MINUTE_MS) this.#violations.shift()
    if (this.#violations.length < LIMITS.violationsPerMinute) return null
    return `broke the protocol ${LIMITS.violationsPerMinute} times in a minute: ${what}`
  }
}

const SHOWN = 3
const WINDOW_MS = 10_000

/** Lets a few texts through every ten seconds; says with the next one how many were held back. */
export class QuietLog {
  #since = Number.NEGATIVE_INFINITY
  #shown = 0
  #withheld = 0

  constructor(
    private readonly clock: Clock,
    private readonly tell: (text: string) => void,
  ) {}

  say(text: string): void {
    const now = this.clock.now()
    if (now - this.#since >= WINDOW_MS) {
      this.#since = now
      this.#shown = 0
    }
    if (this.#shown >= SHOWN) {
      this.#withheld += 1
      return
    }
    this.#shown += 1
    const more = this.#withheld > 0 ? ` (and ${this.#withheld} more like it before)` : ''
    this.#withheld = 0
    this.tell(text + more)
  }
}
