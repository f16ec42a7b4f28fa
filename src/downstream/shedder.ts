import { CALM, judge, type LoadLevel, type LoadState, type Pressure } from '../core/shed/index.js'
import { type GatewayError, LIMITS } from '../model/index.js'
import type { Host, Timer } from '../runtime/ports.js'
import { overloaded } from './failures.js'

/** How loaded the gateway is, for whoever has to refuse work. */
export interface LoadView {
  readonly level: LoadLevel
  /** For how long a refused client should wait; never the same for all, or they would all come back at once. */
  retryAfterMs(): number
}

const RETRY_MS = 1_000
const RETRY_SPREAD_MS = 4_000

export const NO_LOAD: LoadView = { level: 0, retryAfterMs: () => RETRY_MS }

/** Why a request is not begun under this load; null = it is. */
export function shed(load: LoadView, method: string | null): GatewayError | null {
  if (load.level === 0) return null
  const what = refusedAt(load.level, method)
  return what === null ? null : overloaded(what, load.retryAfterMs())
}

function refusedAt(level: LoadLevel, method: string | null): string | null {
  if (method === 'initialize') return 'new sessions'
  if (method === 'subscriptions/listen' || method === 'resources/subscribe') return 'new subscriptions'
  // A client that is told that its server is dead would begin anew, which costs more than the answer.
  return level >= 2 && method !== 'ping' ? 'new requests' : null
}

/** Measures the process. */
export interface PressureGauge {
  start(): void
  /** What it was like since the last reading. */
  read(): Pressure
  stop(): void
}

/** The last measurement, heap and descriptors as shares of their limits. */
export interface LoadStatus {
  /** 0 = normal, 1 = nothing new that lasts, 2 = no new requests, 3 = the largest streams are closed. */
  readonly level: LoadLevel
  readonly heap: number
  readonly loopDelayMs: number
  /** Null where the machine does not tell. */
  readonly fds: number | null
}

function share(value: number): number {
  return Math.round(value * 1_000) / 1_000
}

/** Reads the gauge in steady steps and tells everybody the level. */
export class Shedder implements LoadView {
  #state: LoadState = CALM
  #pressure: Pressure = { heap: 0, loopDelayMs: 0, fds: null }
  #timer: Timer | null = null
  readonly #listeners: ((level: LoadLevel) => void)[] = []

  constructor(
    private readonly host: Pick<Host, 'clock' | 'random'>,
    private readonly gauge: PressureGauge,
  ) {}

  get level(): LoadLevel {
    return this.#state.level
  }

  retryAfterMs(): number {
    return RETRY_MS + this.host.random.next() * RETRY_SPREAD_MS
  }

  /** For the gateway's status: what it is short of, and what it does about it. */
  get status(): { readonly load: LoadStatus } {
    const { heap, loopDelayMs, fds } = this.#pressure
    const load = {
      level: this.level,
      heap: share(heap),
      loopDelayMs: Math.round(loopDelayMs),
      fds: fds === null ? null : share(fds),
    }
    return { load }
  }

  /** @param listener called after every measurement above level 0, and once when the level is 0 again */
  onPressure(listener: (level: LoadLevel) => void): void {
    this.#listeners.push(listener)
  }

  /** Idempotent. */
  start(): void {
    if (this.#timer) return
    this.gauge.start()
    this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.gauge.stop()
  }

  #arm(): void {
    this.#timer = this.host.clock.after(LIMITS.loadSampleMs, () => this.#sample())
  }

  #sample(): void {
    const before = this.#state.level
    this.#pressure = this.gauge.read()
    this.#state = judge(this.#state, this.#pressure)
    this.#arm()
    if (before > 0 || this.level > 0) for (const listener of this.#listeners) listener(this.level)
  }
}
