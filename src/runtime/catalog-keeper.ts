import { sameComponents } from '../core/catalog/index.js'
import {
  type CatalogFindings,
  EMPTY_CATALOG,
  type GatewayError,
  itemsIn,
  KINDS,
  type Kind,
  type KindCatalog,
  LIMITS,
  type UpstreamCatalog,
  type UpstreamSpec,
} from '../model/index.js'
import { CatalogMemory } from './catalog-memory.js'
import { reasonOf } from './failures.js'
import type { FetchedList } from './fetch-lists.js'
import { ListKeeper } from './list-keeper.js'
import { allowedOf, resultTtlOf } from './offering.js'
import { PinWatch } from './pin-watch.js'
import type { Connection, Host, Timer } from './ports.js'
import { ReadCache } from './read-cache.js'

const KINDS_OF_NOTIFICATION: Readonly<Record<string, readonly Kind[]>> = {
  'notifications/tools/list_changed': ['tools'],
  'notifications/prompts/list_changed': ['prompts'],
  'notifications/resources/list_changed': ['resources', 'resourceTemplates'],
}

/** Options that decide what is listed, and for how long. */
const SHAPING = ['tools', 'resources', 'prompts', 'pin', 'cacheTtlMs']

export interface CatalogEvents {
  changed(): void
  warning(message: string): void
  /** A list could not be had; the server may have asked for a rest. */
  refused(error: GatewayError): void
  /** Milliseconds for which the server wants to be left alone. */
  restMs(): number
  /** Without a connection because nobody needs it, which is no outage. */
  asleep(): boolean
  /** Bytes of resources that may be kept; default LIMITS.keptReadsBytes. */
  readonly readBytes?: number | undefined
}

/** Keeps what one upstream offers, kind by kind: one that fails leaves the others. */
export class CatalogKeeper {
  /** Contents of resources that its server allows to be kept. */
  readonly reads: ReadCache
  /** As the server says. */
  #offered: UpstreamCatalog = EMPTY_CATALOG
  /** What of it may be used. */
  #current: UpstreamCatalog = EMPTY_CATALOG
  /** Lists of the one whose place it took: known, and nothing to be judged by. */
  readonly #borrowed = new Set<Kind>()
  #connection: Connection | null = null
  #forgetting: Timer | null = null
  readonly #lists: Readonly<Record<Kind, ListKeeper>>
  readonly #pins: PinWatch
  readonly #memory: CatalogMemory | null

  /** @param shared false = these lists are what one caller alone may see: they never reach the disk */
  constructor(
    private readonly spec: UpstreamSpec,
    private readonly host: Pick<Host, 'clock' | 'random' | 'memory'>,
    private readonly events: CatalogEvents,
    shared = true,
  ) {
    this.reads = new ReadCache(host.clock, spec.cacheTtlMs, events.readBytes, tool => resultTtlOf(spec, tool))
    this.#pins = new PinWatch(spec, shared ? host : { clock: host.clock }, message => events.warning(message))
    this.#memory = shared ? new CatalogMemory(spec, host) : null
    const keeperOf = (kind: Kind) =>
      new ListKeeper(kind, spec, host, {
        fetched: (list, freshUntil) => this.#accept(kind, list, freshUntil),
        absent: () => this.#publish(kind, { state: 'absent' }),
        failed: error => this.#refuse(kind, error),
        restMs: () => events.restMs(),
      })
    this.#lists = {
      tools: keeperOf('tools'),
      resources: keeperOf('resources'),
      resourceTemplates: keeperOf('resourceTemplates'),
      prompts: keeperOf('prompts'),
    }
    const known = this.#memory?.recall()
    if (known) this.restore(known.catalog, known.ageMs)
  }

  /** Options of its server are others now. What they forbid is gone at once; what they allow again has to be fetched. */
  retune(options: ReadonlySet<string>): void {
    this.reads.limitTtl(this.spec.cacheTtlMs)
    if (options.has('cacheResults')) this.reads.clear()
    if (options.has('pin')) this.#pins.retune()
    if (!SHAPING.some(option => options.has(option))) return
    for (const kind of KINDS) {
      const known = this.#offered[kind]
      this.#set(kind, 'items' in known ? { ...known, items: allowedOf(this.spec, kind, known.items) } : known)
    }
    void this.refresh()
  }

  /** It is to take the place of the other one. */
  inherit(old: CatalogKeeper): void {
    this.#pins.inherit(old.#pins)
  }

  get current(): UpstreamCatalog {
    return this.#current
  }

  /** What a person should look at. */
  get findings(): CatalogFindings {
    return this.#pins.findings
  }

  /** @throws GatewayError INVALID_PARAMS for a name that is not offered */
  approve(names: readonly string[]): void {
    this.#pins.approve(names)
    for (const kind of KINDS) this.#set(kind, this.#offered[kind])
    this.events.changed()
  }

  /**
   * What was known when the gateway last ran; before the first connection only.
   * @param ageMs how old it is
   */
  restore(catalog: UpstreamCatalog, ageMs: number): void {
    if (ageMs >= LIMITS.staleMs || this.#connection) return
    for (const kind of KINDS) {
      const known = catalog[kind]
      // The configuration may let less through than it did.
      const items = allowedOf(this.spec, kind, itemsIn(known))
      this.#set(kind, 'items' in known ? { ...known, items } : known)
    }
    this.#forgetAfter(LIMITS.staleMs - ageMs)
  }

  /** Until it has lists of its own, those of the other one are known, as far as they could be used there. */
  borrow(old: CatalogKeeper): void {
    if (this.#connection || KINDS.every(kind => old.#offered[kind].state === 'unknown')) return
    for (const kind of KINDS) {
      const known = old.#current[kind]
      const items = allowedOf(this.spec, kind, itemsIn(known))
      this.#borrowed.add(kind)
      if (known.state === 'live') this.#set(kind, { ...known, items, state: 'stale' })
      else this.#set(kind, 'items' in known ? { ...known, items } : known)
    }
    this.#forgetAfter(LIMITS.staleMs)
  }

  /** Fetches every kind, each on its own; `done` is called once all were had or given up. */
  connected(connection: Connection, done: () => void): void {
    this.disconnected()
    this.#connection = connection
    this.#forgetting?.cancel()
    void Promise.all(KINDS.map(kind => this.#lists[kind].connected(connection))).then(() => {
      if (connection === this.#connection) done()
    })
  }

  /** What is known stays listed, as old, for a day. */
  disconnected(): void {
    const wasConnected = this.#connection !== null
    this.#connection = null
    this.reads.clear()
    for (const kind of KINDS) {
      this.#lists[kind].disconnected()
      const known = this.#offered[kind]
      if (known.state === 'live') this.#set(kind, { ...known, state: 'stale' })
    }
    if (!wasConnected) return
    this.#memory?.keep(this.#offered, false)
    this.#forgetAfter(LIMITS.staleMs)
  }

  /** For good. */
  stop(): void {
    this.disconnected()
    this.#forgetting?.cancel()
  }

  notified(method: string): void {
    if (method.startsWith('notifications/resources/') || method.startsWith('notifications/tools/'))
      this.reads.clear()
    for (const kind of KINDS_OF_NOTIFICATION[method] ?? []) this.#lists[kind].changed()
  }

  /** An answer says that what we list is not there. @returns true when that is looked into */
  suspect(kinds: readonly Kind[]): boolean {
    return kinds.map(kind => this.#lists[kind].suspect()).includes(true)
  }

  /** Somebody wants what is not in the lists. A promise where they are fetched for it. */
  seek(kinds: readonly Kind[]): Promise<unknown> | null {
    const fetches = kinds.flatMap(kind => this.#lists[kind].seek() ?? [])
    return fetches.length > 0 ? Promise.all(fetches) : null
  }

  used(): void {
    for (const kind of KINDS) this.#lists[kind].used()
  }

  /** Somebody looks at a list. A promise where it has to be fetched first. */
  look(kind: Kind): Promise<void> | null {
    return this.#lists[kind].look()
  }

  /** Fetches every kind again; resolves when each was had or given up. */
  async refresh(): Promise<void> {
    await Promise.all(KINDS.map(kind => this.#lists[kind].refresh()))
  }

  #accept(kind: Kind, list: FetchedList, freshUntil: number): void {
    for (const dropped of list.dropped) this.events.warning(dropped)
    const before = itemsIn(this.#offered[kind])
    this.#publish(kind, {
      state: 'live',
      items: sameComponents(before, allowedOf(this.spec, kind, list.items)),
      fetchedAt: this.host.clock.wallTime(),
      freshUntil,
      ...(list.cacheScope ? { cacheScope: list.cacheScope } : {}),
    })
  }

  /** What was known stays; one failed list does not take a working connection down. */
  #refuse(kind: Kind, error: GatewayError): void {
    this.events.refused(error)
    const reason = reasonOf(error)
    const before = this.#offered[kind]
    if (before.state === 'failed' && before.reason === reason) return
    this.events.warning(reason)
    this.#publish(kind, { state: 'failed', reason, items: itemsIn(before) })
  }

  #forgetAfter(ms: number): void {
    this.#forgetting?.cancel()
    this.#forgetting = this.host.clock.after(ms, () => {
      if (this.events.asleep()) return this.#forgetAfter(LIMITS.staleMs)
      for (const kind of KINDS)
        if (this.#current[kind].state !== 'absent') this.#set(kind, { state: 'unknown' })
      this.events.changed()
    })
  }

  #publish(kind: Kind, catalog: KindCatalog): void {
    if (this.#offered[kind].state === 'absent' && catalog.state === 'absent') return
    if (catalog.state !== 'failed') this.#borrowed.delete(kind)
    this.#set(kind, catalog)
    this.#memory?.keep(this.#offered, true)
    this.events.changed()
  }

  #set(kind: Kind, catalog: KindCatalog): void {
    this.#offered = { ...this.#offered, [kind]: catalog }
    const usable = this.#borrowed.has(kind) ? catalog : this.#pins.admit(kind, catalog)
    this.#current = { ...this.#current, [kind]: usable }
  }
}
