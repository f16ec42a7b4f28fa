import { LIMITS } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

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

class StallClock implements Clock {
  #stalled = 0
  #lastBeat = 0
  #beat: NodeJS.Timeout | null = null
  #pending = 0
  readonly #listeners = new Set<(lateMs: number) => void>()

  constructor(private readonly source: TimeSource) {}

  now(): number {
    return this.#look() - this.#stalled
  }

  wallTime(): number {
    return this.source.wallTime()
  }

  after(ms: number, fn: () => void) {
    // NaN and delays beyond the largest one would make Node fire at once.
    const delay = Math.min(Math.max(0, ms || 0), LIMITS.timerMs)
    const due = this.now() + delay
    let timer: NodeJS.Timeout | null = null
    const fire = () => {
      const left = due - this.now()
      // A stall has moved it; or Node, which reckons from the start of its turn, was a little early.
      if (left > 0) {
        timer = this.source.set(fire, Math.max(1, left))
        return
      }
      timer = null
      this.#release()
      fn()
    }
    this.#hold()
    timer = this.source.set(fire, delay)
    return {
      cancel: () => {
        if (!timer) return
        this.source.clear(timer)
        timer = null
        this.#release()
      },
    }
  }

  onStall(listener: (lateMs: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
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
