import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'

/** How often the loop is seen to turn while any timer is pending. */
const BEAT_MS = 500
/** A loop that is later than this was stalled: by a stopped process, a suspended machine, or work that took too long. */
const STALL_MS = 1_000

/** The parts of the machine that a clock is made of. */
export interface TimeSource {
  /** Monotonic milliseconds. */
  now(): number
  wallTime(): number
  set(fn: () => void, ms: number): NodeJS.Timeout
  clear(timer: NodeJS.Timeout): void
}

const MACHINE: TimeSource = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  set: (fn, ms) => setTimeout(fn, ms).unref(),
  clear: timer => clearTimeout(timer),
}

/**
 * Monotonic time in which the gateway could act: while the loop is stalled it stands still. So every deadline moves by
 * the length of a stall, and nobody is blamed for an answer that lay waiting for us.
 */
export function createClock(source: TimeSource = MACHINE): Clock {
  return new StallClock(source)
}

/** Anything later than this is looked at with the beat: most long timers are cancelled before they come near. */
const FAR_MS = 4 * BEAT_MS

/** One call of `after`. A class and no closures: each request of a client makes one. */
class Due implements Timer {
  timer: NodeJS.Timeout | null = null
  over = false
  /** Neighbours among those that are far. */
  before: Due | null = null
  behind: Due | null = null

  constructor(
    private readonly clock: StallClock,
    readonly at: number,
    readonly fn: () => void,
  ) {}

  cancel(): void {
    if (this.over) return
    this.over = true
    this.clock.drop(this)
  }
}

/**
 * Those that are far. Linked by hand: a Set under such churn leaves a chain of dead tables behind, which keeps every
 * call of the last second from being collected young.
 */
class FarList {
  #first: Due | null = null
  #last: Due | null = null

  get isEmpty(): boolean {
    return this.#first === null
  }

  add(due: Due): void {
    due.before = this.#last
    if (this.#last) this.#last.behind = due
    else this.#first = due
    this.#last = due
  }

  remove(due: Due): void {
    const { before, behind } = due
    if (before) before.behind = behind
    else if (this.#first === due) this.#first = behind
    if (behind) behind.before = before
    else if (this.#last === due) this.#last = before
    due.before = null
    due.behind = null
  }

  *[Symbol.iterator](): Generator<Due> {
    for (let due = this.#first; due; ) {
      // It may be removed meanwhile.
      const { behind } = due
      yield due
      due = behind
    }
  }
}

class StallClock implements Clock {
  #stalled = 0
  #lastBeat = 0
  #beat: NodeJS.Timeout | null = null
  #pending = 0
  readonly #far = new FarList()
  readonly #listeners = new Set<(lateMs: number) => void>()

  constructor(private readonly source: TimeSource) {}

  now(): number {
    return this.#look() - this.#stalled
  }

  wallTime(): number {
    return this.source.wallTime()
  }

  after(ms: number, fn: () => void): Timer {
    // NaN and delays beyond the largest one would make Node fire at once.
    const delay = Math.min(Math.max(0, ms || 0), LIMITS.timerMs)
    const due = new Due(this, this.now() + delay, fn)
    this.#hold()
    if (delay > FAR_MS) this.#far.add(due)
    else this.#set(due, delay)
    return due
  }

  onStall(listener: (lateMs: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** For `Due` alone. */
  drop(due: Due): void {
    if (due.timer) this.source.clear(due.timer)
    else this.#far.remove(due)
    this.#release()
  }

  #set(due: Due, ms: number): void {
    due.timer = this.source.set(() => this.#fire(due), ms)
  }

  #fire(due: Due): void {
    const left = due.at - this.now()
    // A stall has moved it; or Node, which reckons from the start of its turn, was a little early.
    if (left > 0) return this.#set(due, Math.max(1, left))
    due.over = true
    this.#release()
    due.fn()
  }

  #comeNear(): void {
    if (this.#far.isEmpty) return
    const now = this.now()
    for (const due of this.#far) {
      const left = due.at - now
      if (left > FAR_MS) continue
      this.#far.remove(due)
      this.#set(due, Math.max(0, left))
    }
  }

  /** Whoever asks for the time first after a stall finds it, so nobody decides by the time that passed in it. */
  #look(): number {
    const now = this.source.now()
    if (!this.#beat) return now
    const late = now - this.#lastBeat - BEAT_MS
    if (late <= STALL_MS) return now
    this.#stalled += late
    this.#lastBeat = now
    for (const listener of [...this.#listeners]) listener(late)
    return now
  }

  #hold(): void {
    this.#pending += 1
    if (this.#beat) return
    this.#lastBeat = this.source.now()
    this.#arm()
  }

  #arm(): void {
    this.#beat = this.source.set(() => {
      this.#look()
      this.#lastBeat = this.source.now()
      this.#comeNear()
      this.#arm()
    }, BEAT_MS)
  }

  /** Without a timer there is nothing that a stall could fire too early. */
  #release(): void {
    this.#pending -= 1
    if (this.#pending > 0 || !this.#beat) return
    this.source.clear(this.#beat)
    this.#beat = null
  }
}
