import { type Bytes, LIMITS } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'
import { type LoadView, NO_LOAD } from './shedder.js'

const SECOND_MS = 1_000

/** At most so many in any second. */
class Allowance {
  readonly #times: number[] = []
  #oldest = 0

  constructor(private readonly perSecond: number) {}

  /** Milliseconds until one more may go; 0 = now. */
  wait(now: number): number {
    if (this.#times.length < this.perSecond) return 0
    return Math.max(0, (this.#times[this.#oldest] ?? 0) + SECOND_MS - now)
  }

  take(now: number): void {
    if (this.#times.length < this.perSecond) this.#times.push(now)
    else {
      this.#times[this.#oldest] = now
      this.#oldest = (this.#oldest + 1) % this.perSecond
    }
  }
}

/** The pace of all notes towards the clients of one face: what each server may send, and one timer for what waits. */
export class Pace {
  readonly #upstreams = new Map<string, Allowance>()
  readonly #held = new Set<Lane>()
  #timer: Timer | null = null

  constructor(
    readonly clock: Clock,
    readonly load: LoadView = NO_LOAD,
  ) {}

  allowanceOf(upstream: string): Allowance {
    let allowance = this.#upstreams.get(upstream)
    if (!allowance) {
      allowance = new Allowance(LIMITS.notesPerUpstream)
      this.#upstreams.set(upstream, allowance)
    }
    return allowance
  }

  hold(lane: Lane, ms: number): void {
    this.#held.add(lane)
    this.#timer ??= this.clock.after(ms, () => this.#tick())
  }

  drop(lane: Lane): void {
    this.#held.delete(lane)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#held.clear()
  }

  #tick(): void {
    this.#timer = null
    let next = Number.POSITIVE_INFINITY
    for (const lane of this.#held) next = Math.min(next, lane.retry())
    if (this.#held.size > 0) this.#timer = this.clock.after(next, () => this.#tick())
  }
}

/** One kind of notes of one call: what comes too fast is replaced by what comes after it. */
export class Lane {
  readonly #own = new Allowance(LIMITS.notesPerRequest)
  readonly #shared: Allowance
  #held: Bytes | null = null

  constructor(
    private readonly pace: Pace,
    upstream: string,
    private readonly send: (params: Bytes) => void,
  ) {
    this.#shared = pace.allowanceOf(upstream)
  }

  put(params: Bytes): void {
    const wait = this.#wait()
    if (wait === 0 && this.#held === null) return this.#go(params)
    this.#held = params
    this.pace.hold(this, wait)
  }

  /** Sends what is held, if it may go. @returns milliseconds until it may */
  retry(): number {
    const wait = this.#wait()
    if (wait === 0) this.flush()
    return wait === 0 ? Number.POSITIVE_INFINITY : wait
  }

  flush(): void {
    this.pace.drop(this)
    const params = this.#held
    this.#held = null
    if (params) this.#go(params)
  }

  drop(): void {
    this.#held = null
    this.pace.drop(this)
  }

  #go(params: Bytes): void {
    const now = this.pace.clock.now()
    this.#own.take(now)
    this.#shared.take(now)
    this.send(params)
  }

  #wait(): number {
    const now = this.pace.clock.now()
    return Math.max(this.#own.wait(now), this.#shared.wait(now))
  }
}
