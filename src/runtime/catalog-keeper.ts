import {
  EMPTY_CATALOG,
  type GatewayError,
  itemsIn,
  KINDS,
  type Kind,
  type KindCatalog,
  type UpstreamCatalog,
  type UpstreamSpec,
} from '../model/index.js'
import { asGatewayError, reasonOf } from './failures.js'
import { type FetchedList, fetchList } from './fetch-lists.js'
import { allowedOf, offers } from './offering.js'
import type { Clock, Connection, Timer } from './ports.js'

const KINDS_OF_NOTIFICATION: Readonly<Record<string, readonly Kind[]>> = {
  'notifications/tools/list_changed': ['tools'],
  'notifications/prompts/list_changed': ['prompts'],
  'notifications/resources/list_changed': ['resources', 'resourceTemplates'],
}

/** After a change is announced, further announcements within this time cost no further fetch. */
const COALESCE_MS = 100
const RETRY_MS = 5_000

interface KindState {
  fetching: boolean
  /** Announced while a fetch was under way: its result may already be old. */
  dirty: boolean
  timer: Timer | null
  /** When the timer fires. */
  dueAt: number
}

export interface CatalogEvents {
  changed(): void
  warning(message: string): void
  /** A list could not be had; the server may have asked for a rest. */
  refused(error: GatewayError): void
  /** Milliseconds for which the server wants to be left alone. */
  restMs(): number
}

/** Keeps what one upstream offers: fetched after each handshake and when the server says that it changed. */
export class CatalogKeeper {
  current: UpstreamCatalog = EMPTY_CATALOG
  #connection: Connection | null = null
  /** Made anew for each connection, so that a fetch on the last one cannot hold up the next. */
  #kinds = freshKinds()

  constructor(
    private readonly spec: UpstreamSpec,
    private readonly clock: Clock,
    private readonly events: CatalogEvents,
  ) {}

  /** Fetches every kind, each on its own; `done` is called once all were had or given up. */
  connected(connection: Connection, done: () => void): void {
    this.disconnected()
    this.#connection = connection
    this.#kinds = freshKinds()
    void Promise.all(KINDS.map(kind => this.#fetch(kind))).then(() => {
      if (connection === this.#connection) done()
    })
  }

  /** Fetches every kind again; resolves when each was had or given up. */
  async refresh(): Promise<void> {
    await Promise.all(KINDS.map(kind => this.#fetch(kind)))
  }

  disconnected(): void {
    this.#connection = null
    for (const state of this.#kinds.values()) {
      state.timer?.cancel()
      state.timer = null
    }
  }

  notified(method: string): void {
    for (const kind of KINDS_OF_NOTIFICATION[method] ?? []) this.#schedule(kind, COALESCE_MS)
  }

  #schedule(kind: Kind, delayMs: number): void {
    const state = this.#state(kind)
    if (state.fetching) {
      state.dirty = true
      return
    }
    const dueAt = this.clock.now() + delayMs
    if (state.timer && state.dueAt <= dueAt) return
    state.timer?.cancel()
    state.dueAt = dueAt
    state.timer = this.clock.after(delayMs, () => {
      state.timer = null
      void this.#fetch(kind)
    })
  }

  async #fetch(kind: Kind): Promise<void> {
    const connection = this.#connection
    if (!connection) return
    if (!offers(connection, kind)) {
      this.#publish(kind, { state: 'absent' })
      return
    }
    const rest = this.events.restMs()
    if (rest > 0) return this.#schedule(kind, rest)
    const state = this.#state(kind)
    if (state.fetching) {
      state.dirty = true
      return
    }
    state.fetching = true
    state.dirty = false
    let failed = false
    try {
      const { timeouts, name: upstream } = this.spec
      const fetched = await fetchList({ connection, clock: this.clock, timeouts, upstream }, kind)
      if (connection === this.#connection) this.#accept(kind, fetched)
    } catch (thrown) {
      failed = true
      this.events.refused(asGatewayError(thrown, this.spec.name))
      if (connection === this.#connection) this.#refuse(kind, thrown)
    } finally {
      state.fetching = false
      if ((state.dirty || failed) && connection === this.#connection) {
        this.#schedule(kind, state.dirty ? COALESCE_MS : RETRY_MS)
      }
    }
  }

  #accept(kind: Kind, fetched: FetchedList): void {
    for (const dropped of fetched.dropped) this.events.warning(dropped)
    if (fetched.state === 'absent') {
      this.#publish(kind, { state: 'absent' })
      return
    }
    const items = allowedOf(this.spec, kind, fetched.items)
    this.#publish(kind, { state: 'live', items, fetchedAt: this.clock.wallTime() })
  }

  /** What was known stays; one failed list does not take a working connection down. */
  #refuse(kind: Kind, thrown: unknown): void {
    const error = asGatewayError(thrown, this.spec.name)
    const reason = reasonOf(error)
    const before = this.current[kind]
    if (before.state !== 'failed' || before.reason !== reason) {
      this.events.warning(reason)
      this.#publish(kind, { state: 'failed', reason, items: itemsIn(before) })
    }
  }

  #publish(kind: Kind, catalog: KindCatalog): void {
    const before = this.current[kind]
    if (before.state === 'absent' && catalog.state === 'absent') return
    this.current = { ...this.current, [kind]: catalog }
    this.events.changed()
  }

  #state(kind: Kind): KindState {
    const state = this.#kinds.get(kind)
    if (!state) throw new Error(`no such kind: ${kind}`)
    return state
  }
}

function freshKinds(): Map<Kind, KindState> {
  return new Map(KINDS.map(kind => [kind, { fetching: false, dirty: false, timer: null, dueAt: 0 }]))
}
