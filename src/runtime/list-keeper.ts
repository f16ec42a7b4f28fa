import { type Freshness, type FreshnessEvent, NEVER_FETCHED, stepFreshness } from '../core/catalog/index.js'
import { type GatewayError, type Kind, LIMITS, type UpstreamSpec } from '../model/index.js'
import { asGatewayError } from './failures.js'
import { type FetchedList, fetchList } from './fetch-lists.js'
import { offers } from './offering.js'
import type { Connection, Host, Timer } from './ports.js'

export interface ListEvents {
  /** @param freshUntil monotonic ms */
  fetched(list: FetchedList, freshUntil: number): void
  /** The server has no such list. */
  absent(): void
  failed(error: GatewayError): void
  /** Milliseconds for which the server wants to be left alone. */
  restMs(): number
}

interface Waiter {
  /** The fetch that satisfies it, or any later one. */
  readonly fetch: number
  readonly resolve: () => void
}

/** Spread over this share of the TTL, lists that were fetched together are not all fetched together again. */
const JITTER = 0.1

/** Fetches one list of one server when it is due: one request at a time, however many ask. */
export class ListKeeper {
  #state: Freshness = NEVER_FETCHED
  #connection: Connection | null = null
  #timer: Timer | null = null
  #timerAt = Infinity
  /** Until then, no answer to a call puts it in doubt. */
  #trustedUntil = -Infinity
  #soughtUntil = -Infinity
  #waiters: Waiter[] = []
  #queued = false

  constructor(
    private readonly kind: Kind,
    private readonly spec: UpstreamSpec,
    private readonly host: Pick<Host, 'clock' | 'random'>,
    private readonly events: ListEvents,
  ) {}

  /** Fetches at once; resolves when that was answered, failed, or has become pointless. */
  connected(connection: Connection): Promise<void> {
    this.disconnected()
    this.#connection = connection
    if (!offers(connection, this.kind)) {
      this.events.absent()
      return Promise.resolve()
    }
    const done = this.#next()
    this.#feed({ kind: 'connected' })
    return done
  }

  disconnected(): void {
    this.#connection = null
    this.#feed({ kind: 'disconnected' })
    this.#release(Infinity)
  }

  /** What is known may be old. */
  changed(): void {
    this.#feed({ kind: 'changed' })
  }

  /** An answer says that something is not there. Once for each life of the list: it may say so of everything. */
  suspect(): boolean {
    const now = this.host.clock.now()
    if (now < this.#trustedUntil) return false
    this.#trustedUntil = now + Math.max(this.spec.cacheTtlMs, LIMITS.listTtlMinMs)
    this.#soughtUntil = now + LIMITS.listTtlMinMs
    this.#feed({ kind: 'changed' })
    return true
  }

  /** Somebody uses what is in the list. */
  used(): void {
    if (!this.#state.used) this.#feed({ kind: 'used' })
  }

  /** Somebody looks at the list. A promise where lists are not cached: of the fetch that it has to wait for. */
  look(): Promise<void> | null {
    if (this.spec.cacheTtlMs > 0 || this.#state.phase === 'away') {
      this.used()
      return null
    }
    // After a failure the next try has its time; a thousand looks do not bring it forward.
    if (this.#state.phase === 'resting' && this.#state.failures > 0) return null
    const done = this.#state.phase === 'fetching' ? this.#running() : this.#next()
    this.#feed({ kind: 'used' })
    return done
  }

  /** Somebody wants something that is not in the list. A promise of a fetch that may bring it; null = there was one. */
  seek(): Promise<void> | null {
    const now = this.host.clock.now()
    if (this.#state.phase === 'away' || now < this.#soughtUntil) return null
    this.#soughtUntil = now + LIMITS.listTtlMinMs
    return this.refresh()
  }

  /** Fetches anew, also what is fresh; resolves when that was answered or failed. */
  refresh(): Promise<void> {
    if (this.#state.phase === 'away') return Promise.resolve()
    const done = this.#next()
    this.#feed({ kind: 'asked' })
    return done
  }

  #running(): Promise<void> {
    return this.#wait(this.#state.begun)
  }

  #next(): Promise<void> {
    return this.#wait(this.#state.begun + 1)
  }

  #wait(fetch: number): Promise<void> {
    return new Promise(resolve => this.#waiters.push({ fetch, resolve }))
  }

  #release(upTo: number): void {
    const released = this.#waiters.filter(({ fetch }) => fetch <= upTo)
    this.#waiters = this.#waiters.filter(({ fetch }) => fetch > upTo)
    for (const { resolve } of released) resolve()
  }

  #feed(event: FreshnessEvent): void {
    this.#state = stepFreshness(this.#state, event, this.host.clock.now())
    this.#arm()
  }

  #arm(): void {
    const { dueAt } = this.#state
    if (dueAt === Infinity || this.#state.phase !== 'resting') return this.#disarm()
    const now = this.host.clock.now()
    const at = Math.max(dueAt, now + this.events.restMs())
    if (at <= now) {
      this.#disarm()
      return this.#soon()
    }
    if (this.#timer && this.#timerAt === at) return
    this.#disarm()
    this.#timerAt = at
    this.#timer = this.host.clock.after(at - now, () => {
      this.#timer = null
      this.#arm()
    })
  }

  /** In a later turn: whoever asks in this one shares the fetch. */
  #soon(): void {
    if (this.#queued) return
    this.#queued = true
    queueMicrotask(() => {
      this.#queued = false
      if (this.#state.phase === 'resting' && this.#state.dueAt <= this.host.clock.now()) void this.#fetch()
    })
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#timerAt = Infinity
  }

  async #fetch(): Promise<void> {
    const connection = this.#connection
    if (!connection) return
    this.#feed({ kind: 'began' })
    const { begun } = this.#state
    const { timeouts, name: upstream } = this.spec
    try {
      const list = await fetchList({ connection, clock: this.host.clock, timeouts, upstream }, this.kind)
      if (connection === this.#connection) this.#accept(list)
    } catch (thrown) {
      if (connection === this.#connection) this.#refuse(asGatewayError(thrown, upstream))
    }
    if (connection === this.#connection) this.#release(begun)
  }

  #accept(list: FetchedList): void {
    const ttlMs = list.state === 'absent' ? Infinity : this.#ttlOf(list)
    if (list.state === 'absent') this.events.absent()
    else this.events.fetched(list, this.host.clock.now() + ttlMs)
    this.#feed({ kind: 'succeeded', ttlMs })
  }

  #refuse(error: GatewayError): void {
    this.events.failed(error)
    this.#feed({ kind: 'failed' })
  }

  /** What the server asks for, within what the configuration and good sense allow. */
  #ttlOf({ ttlMs }: FetchedList): number {
    const most = this.spec.cacheTtlMs
    if (most === 0) return 0
    const wanted = Math.min(most, Math.max(ttlMs ?? most, LIMITS.listTtlMinMs))
    return wanted * (1 - JITTER * this.host.random.next())
  }
}
