import { EMPTY_MERGED, missingFor, scopeToServer } from '../core/catalog/index.js'
import {
  type Bytes,
  type CatalogEntry,
  GatewayError,
  KINDS,
  type Kind,
  LIMITS,
  type MergedCatalog,
  type Scope,
  type Snapshot,
} from '../model/index.js'
import type { Clock, ListPage, UnavailableEntry } from './ports.js'
import { renderEntry } from './rewrite.js'
import type { Store } from './store.js'
import type { Supervisor } from './supervisor.js'

export interface ListRoom {
  readonly clock: Clock
  readonly store: Store
  readonly supervisors: ReadonlyMap<string, Supervisor>
  /** Monotonic ms until which lists wait for upstreams that are in their very first start. */
  readonly firstListUntil: number
}

/** Milliseconds that a client may keep a list; short, because an upstream may come back at any moment. */
const LIST_TTL_MS = 5_000
/** Older states of the lists that a cursor may still page through. */
const KEPT_GENERATIONS = 8

/** Answers lists from what is known; waits for nobody beyond the first moments after boot. */
export class Listing {
  readonly #generations = new Map<string, readonly CatalogEntry[]>()
  #nextGeneration = 1
  readonly #numbers = new WeakMap<readonly CatalogEntry[], string>()

  constructor(private readonly room: ListRoom) {}

  async page(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage> {
    this.#demandLazy(scope)
    if (cursor === null) await this.#firstStarts(scope)
    const snapshot = this.room.store.current
    const { entries, offset } = this.#position(kind, scope, cursor, snapshot)
    const end = offset + LIMITS.pageSize
    return {
      items: entries.slice(offset, end).map(entry => this.#render(entry, scope)),
      nextCursor: end < entries.length ? this.#cursor(entries, end) : null,
      unavailable: this.#unavailable(snapshot, kind, scope),
      ttlMs: LIST_TTL_MS,
      cacheScope: 'private',
    }
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

  /** Only the very first start of an upstream is worth a short wait: a client that comes at once sees the whole. */
  #firstStarts(scope: Scope): Promise<void> | undefined {
    const left = this.room.firstListUntil - this.room.clock.now()
    if (left <= 0 || !this.#starting(scope)) return undefined
    return new Promise(resolve => {
      const finish = () => {
        leave()
        timer.cancel()
        resolve()
      }
      const leave = this.room.store.onCommit(() => {
        if (!this.#starting(scope)) finish()
      })
      const timer = this.room.clock.after(left, finish)
    })
  }

  #starting(scope: Scope): boolean {
    for (const view of this.room.store.current.upstreams.values()) {
      if (!view.settled && inScope(scope, view.name)) return true
    }
    return false
  }

  #position(
    kind: Kind,
    scope: Scope,
    cursor: string | null,
    snapshot: Snapshot,
  ): { entries: readonly CatalogEntry[]; offset: number } {
    if (cursor === null) return { entries: catalogOf(snapshot, scope).listed[kind], offset: 0 }
    const [generation, offset] = Buffer.from(cursor, 'base64url').toString('latin1').split(':')
    const entries = this.#generations.get(generation ?? '')
    const at = Number(offset)
    const first = entries?.[0]
    const fits = first?.kind === kind && Number.isSafeInteger(at) && at > 0 && at < (entries?.length ?? 0)
    if (!entries || !fits) {
      throw new GatewayError(
        'INVALID_PARAMS',
        'The cursor is unknown or has expired; list again from the start.',
      )
    }
    return { entries, offset: at }
  }

  #cursor(entries: readonly CatalogEntry[], offset: number): string {
    let generation = this.#numbers.get(entries)
    if (!generation) {
      generation = String(this.#nextGeneration++)
      this.#numbers.set(entries, generation)
      this.#generations.set(generation, entries)
      const oldest = this.#generations.keys().next().value
      if (this.#generations.size > KEPT_GENERATIONS && oldest !== undefined) this.#generations.delete(oldest)
    }
    return Buffer.from(`${generation}:${offset}`, 'latin1').toString('base64url')
  }

  #render(entry: CatalogEntry, scope: Scope): Bytes {
    if (scope.kind === 'server') return entry.component.bytes
    return renderEntry(entry, this.room.supervisors.get(entry.upstream)?.spec.prefix ?? '')
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

function inScope(scope: Scope, name: string): boolean {
  return scope.kind === 'all' || scope.name === name
}

/** The part of the catalog that a scope sees. */
export function catalogOf(snapshot: Snapshot, scope: Scope): MergedCatalog {
  if (scope.kind === 'all') return snapshot.catalog
  const view = snapshot.upstreams.get(scope.name)
  return view ? scopeToServer(view) : EMPTY_MERGED
}
