import { LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'

const SECOND_MS = 1_000

/** What one request was sent of one sort of notification in this second, and the last one that had to wait. */
export interface Flow {
  since: number
  passed: number
  held: (() => void) | null
}

export const newFlow = (): Flow => ({ since: Number.NEGATIVE_INFINITY, passed: 0, held: null })

/**
 * Lets so many notifications a second through for one request, and so many in all. Of what is beyond only the last one
 * of each request is kept, and delivered when there is room again. A timer runs only while one is kept.
 */
export class FloodGate {
  readonly #all: Flow = newFlow()
  readonly #waiting = new Set<Flow>()
  #timer: Timer | null = null

  constructor(private readonly clock: Clock) {}

  pass(flow: Flow, deliver: () => void): void {
    const now = this.clock.now()
    if (flow.held === null && this.#admits(flow, now)) return deliver()
    flow.held = deliver
    this.#waiting.add(flow)
    this.#timer ??= this.clock.after(SECOND_MS, () => this.#flush())
  }

  /** The request is over: what it was still to be told is told now, or never. */
  end(flow: Flow, tell: boolean): void {
    const last = flow.held
    if (last === null) return
    flow.held = null
    this.#waiting.delete(flow)
    if (tell) last()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#waiting.clear()
  }

  #admits(flow: Flow, now: number): boolean {
    renew(flow, now)
    renew(this.#all, now)
    if (flow.passed >= LIMITS.notificationsPerRequest) return false
    if (this.#all.passed >= LIMITS.notificationsPerConnection) return false
    flow.passed += 1
    this.#all.passed += 1
    return true
  }

  #flush(): void {
    this.#timer = null
    const now = this.clock.now()
    for (const flow of [...this.#waiting]) {
      const last = flow.held
      if (last === null || !this.#admits(flow, now)) continue
      this.#waiting.delete(flow)
      flow.held = null
      last()
    }
    if (this.#waiting.size > 0) this.#timer ??= this.clock.after(SECOND_MS, () => this.#flush())
  }
}

function renew(flow: Flow, now: number): void {
  if (now - flow.since < SECOND_MS) return
  flow.since = now
  flow.passed = 0
}
