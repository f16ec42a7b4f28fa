import { EMPTY_MERGED, missingFor, scopeToServer } from '../core/catalog/index.js'
import {
  type Bytes,
  type CatalogEntry,
  KINDS,
  type Kind,
  LIMITS,
  type MergedCatalog,
  type Scope,
  type Snapshot,
  type UpstreamView,
} from '../model/index.js'
import { Paging } from './paging.js'
import type { Clock, ListPage, Random, UnavailableEntry } from './ports.js'
import { renderEntry } from './rewrite.js'
import type { Store } from './store.js'
import type { Supervisor } from './supervisor.js'

export interface ListRoom {
  readonly clock: Clock
  readonly random: Random
  readonly store: Store
  readonly supervisors: Iterable<readonly [string, Supervisor]>
  /** Monotonic ms until which lists wait for upstreams that are in their very first start. */
  readonly firstListUntil: number
  /** The same for one of them, where it has a time of its own. */
  firstListOf?(name: string): number | undefined
}

/** Milliseconds that a client may keep a list of which something is missing: it may come back at any moment. */
const INCOMPLETE_TTL_MS = 5_000
/** And one that nobody had to be asked for. */
const EMPTY_TTL_MS = 300_000

/** Answers lists from what is known; waits for nobody beyond the first moments after boot. */
export class Listing {
  readonly #paging: Paging

  constructor(private readonly room: ListRoom) {
    this.#paging = new Paging(room.random)
  }

  async page(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage> {
    if (cursor === null) await this.#ready(kind, scope)
    const snapshot = this.room.store.current
    const { entries, offset } =
      cursor === null
        ? { entries: catalogOf(snapshot, scope).listed[kind], offset: 0 }
        : this.#paging.find(cursor, kind)
    const unavailable = this.#unavailable(snapshot, kind, scope)
    const views = [...snapshot.upstreams.values()].filter(view => inScope(scope, view.name))
    return {
      items: entries.slice(offset, offset + LIMITS.pageSize).map(entry => this.#render(entry, scope)),
      nextCursor: this.#paging.next(entries, kind, offset),
      unavailable,
      ttlMs: unavailable.length > 0 ? INCOMPLETE_TTL_MS : ttlOf(views, kind, this.room.clock.now()),
      cacheScope: scopeOf(views, kind),
    }
  }

  async #ready(kind: Kind, scope: Scope): Promise<void> {
    this.#demandLazy(scope)
    const fetches = this.#look(kind, scope)
    await this.#firstStarts(scope)
    if (fetches.length > 0) await this.#within(Promise.all(fetches), LIMITS.uncachedListMs)
  }

  /** Lists that somebody looks at are kept fresh; those that are not cached are fetched now. */
  #look(kind: Kind, scope: Scope): Promise<void>[] {
    const fetches: Promise<void>[] = []
    for (const [name, supervisor] of this.room.supervisors) {
      const fetch = inScope(scope, name) ? supervisor.catalog.look(kind) : null
      if (fetch) fetches.push(fetch)
    }
    return fetches
  }

  /** A server that does not answer is listed as it was. */
  #within(work: Promise<unknown>, ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = this.room.clock.after(ms, resolve)
      void work.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  #demandLazy(scope: Scope): void {
    for (const [name, supervisor] of this.room.supervisors) {
      if (supervisor.spec.lazy && inScope(scope, name) && this.#isUnknown(name)) supervisor.demand()
    }
  }

  /** One that sleeps again stays listed with what it offers, and asleep. */
  #isUnknown(name: string): boolean {
    const catalog = this.room.store.current.upstreams.get(name)?.catalog
    return catalog !== undefined && KINDS.every(kind => catalog[kind].state === 'unknown')
  }

  /**
   * Only the very first start of an upstream is worth a short wait: a client that comes at once sees the whole. One of
   * which the lists are known from earlier is not.
   */
  async #firstStarts(scope: Scope): Promise<void> {
    for (;;) {
      const left = this.#worthWaitingUntil(scope) - this.room.clock.now()
      if (left <= 0) return
      await this.#commitWithin(left)
    }
  }

  #worthWaitingUntil(scope: Scope): number {
    const { store, firstListUntil } = this.room
    let until = -Infinity
    for (const view of store.current.upstreams.values()) {
      if (view.settled || !inScope(scope, view.name) || isRecalled(view)) continue
      until = Math.max(until, this.room.firstListOf?.(view.name) ?? firstListUntil)
    }
    return until
  }

  #commitWithin(ms: number): Promise<void> {
    return new Promise(resolve => {
      const finish = () => {
        leave()
        timer.cancel()
        resolve()
      }
      const leave = this.room.store.onCommit(finish)
      const timer = this.room.clock.after(ms, finish)
    })
  }

  #render(entry: CatalogEntry, scope: Scope): Bytes {
    if (scope.kind === 'server') return entry.component.bytes
    return renderEntry(entry, this.room.store.current.upstreams.get(entry.upstream)?.prefix ?? '')
  }

  #unavailable(snapshot: Snapshot, kind: Kind, scope: Scope): UnavailableEntry[] {
    return missingFor(snapshot, kind, scope).map(missing => {
      const { view } = missing
      const catalog = view.catalog[kind]
      const reason =
        missing.kind && catalog.state === 'failed' ? catalog.reason : (view.reason ?? 'still listing')
      return {
        upstream: view.name,
        state: view.state,
        reason,
        since: new Date(view.since).toISOString(),
        stale: missing.stale,
        ...(view.nextAttemptAt === null ? {} : { nextAttemptAt: new Date(view.nextAttemptAt).toISOString() }),
        ...(missing.kind === undefined ? {} : { kind: missing.kind }),
      }
    })
  }
}

/** Whole milliseconds for which a client may keep the list: what is left of the part that grows old first. */
function ttlOf(views: readonly UpstreamView[], kind: Kind, now: number): number {
  const ends = views.flatMap(view => {
    const known = view.catalog[kind]
    return view.state !== 'disabled' && 'fetchedAt' in known ? [known.freshUntil ?? now] : []
  })
  return ends.length === 0 ? EMPTY_TTL_MS : Math.max(0, Math.floor(Math.min(...ends) - now))
}

/** Shared by all only where every server says that its part may be, and none has another part for each identity. */
function scopeOf(views: readonly UpstreamView[], kind: Kind): 'public' | 'private' {
  const parts = views.filter(view => view.state !== 'disabled' && view.catalog[kind].state !== 'absent')
  const isPublic = (view: UpstreamView) => {
    const known = view.catalog[kind]
    return view.isolation === 'shared' && 'cacheScope' in known && known.cacheScope === 'public'
  }
  return parts.length > 0 && parts.every(isPublic) ? 'public' : 'private'
}

function inScope(scope: Scope, name: string): boolean {
  return scope.kind === 'all' || scope.name === name
}

/** Until its first lists, what it offers is known from the last run of a gateway. */
function isRecalled({ catalog }: UpstreamView): boolean {
  return KINDS.some(kind => catalog[kind].state === 'stale')
}

/** The part of the catalog that a scope sees. */
export function catalogOf(snapshot: Snapshot, scope: Scope): MergedCatalog {
  if (scope.kind === 'all') return snapshot.catalog
  const view = snapshot.upstreams.get(scope.name)
  return view ? scopeToServer(view) : EMPTY_MERGED
}
