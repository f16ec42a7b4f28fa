import { createHash } from 'node:crypto'
import { Dice } from './dice.js'
import type { Fact, History, Recorded } from './history.js'

interface Event {
  readonly at: number
  readonly seq: number
  /** Null once it was cancelled. */
  fn: (() => void) | null
}

export interface Scheduled {
  cancel(): void
}

/** Wall time at the start of a run; any moment will do. */
export const EPOCH = Date.UTC(2026, 10, 1)

const realImmediate = globalThis.setImmediate

/**
 * Virtual time. Events run one by one in the order of (time, number); between two of them every microtask, tick and
 * immediate of the gateway is run to its end, as between two events of a real machine.
 */
export class World {
  now = 0
  /** Every fact, in order. */
  readonly history: Recorded[] = []
  /** Thrown out of an event, or rejected without a handler: the gateway would have died. */
  readonly crashes: unknown[] = []
  events = 0
  readonly #heap: Event[] = []
  #immediates: (() => void)[] = []
  #seq = 0

  constructor(readonly seed: number) {}

  dice(label: string): Dice {
    return new Dice(this.seed, label)
  }

  note(fact: Fact): void {
    this.history.push({ at: this.now, ...fact })
  }

  after(ms: number, fn: () => void): Scheduled {
    const event: Event = { at: this.now + Math.max(0, ms), seq: this.#seq++, fn }
    this.#push(event)
    return {
      cancel: () => {
        event.fn = null
      },
    }
  }

  /** Runs whatever is due until `until`, and leaves the clock there. */
  run(until: number): Promise<void> {
    return this.#turns(() => {
      const next = this.#peek()
      if (next && next.at <= until) return next
      this.now = Math.max(this.now, until)
      return null
    })
  }

  /** Runs until something holds, at most until `limit`. @returns whether it holds */
  async runUntil(holds: () => boolean, limit: number): Promise<boolean> {
    await this.#turns(() => {
      if (holds()) return null
      const next = this.#peek()
      if (next && next.at <= limit) return next
      this.now = Math.max(this.now, limit)
      return null
    })
    return holds()
  }

  /** Runs until a promise of the gateway has settled, at most until `limit`. */
  async settle(promise: Promise<unknown>, limit: number): Promise<boolean> {
    let settled = false
    const settle = () => {
      settled = true
    }
    promise.then(settle, settle)
    return this.runUntil(() => settled, limit)
  }

  /** The fingerprint of everything that happened. */
  hash(): string {
    const hash = createHash('sha256')
    for (const fact of this.history) hash.update(JSON.stringify(fact)).update('\n')
    return hash.digest('hex').slice(0, 16)
  }

  view(): History {
    return this.history
  }

  /** While `body` runs, immediates and unhandled rejections of this process belong to this world. */
  async own<T>(body: () => Promise<T>): Promise<T> {
    const crash = (reason: unknown) => this.crashes.push(reason)
    const virtual = (fn: (...args: unknown[]) => void, ...args: unknown[]) => {
      this.#immediates.push(() => fn(...args))
    }
    const outer = globalThis.setImmediate
    globalThis.setImmediate = virtual as unknown as typeof setImmediate
    const others = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', crash)
    try {
      return await body()
    } finally {
      globalThis.setImmediate = outer
      process.removeListener('unhandledRejection', crash)
      for (const listener of others) process.on('unhandledRejection', listener)
    }
  }

  /** One event a turn of the real event loop: only there is everything before it surely at its end. */
  #turns(choose: () => Event | null): Promise<void> {
    return new Promise(resolve => {
      const turn = () => {
        const immediates = this.#immediates
        if (immediates.length > 0) {
          this.#immediates = []
          for (const fn of immediates) this.#attempt(fn)
          realImmediate(turn)
          return
        }
        const event = choose()
        if (!event) return resolve()
        this.#pop()
        this.now = Math.max(this.now, event.at)
        this.events += 1
        if (event.fn) this.#attempt(event.fn)
        realImmediate(turn)
      }
      realImmediate(turn)
    })
  }

  #attempt(fn: () => void): void {
    try {
      fn()
    } catch (thrown) {
      this.crashes.push(thrown)
    }
  }

  /** The next event that was not cancelled. */
  #peek(): Event | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (!first || first.fn) return first
      this.#pop()
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as Event, event)) break
      heap[at] = heap[parent] as Event
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right && isBefore(right, heap[child] as Event)) child += 1
      if (isBefore(last, heap[child] as Event)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.seq < b.seq)
}
