import { sameBytes } from '../core/catalog/index.js'
import { type CatalogEntry, KINDS, type Kind, type Scope } from '../model/index.js'
import { catalogOf } from './listing.js'
import type { Clock, Timer } from './ports.js'
import type { Store } from './store.js'

/** Changes within this time are told as one. */
const COALESCE_MS = 300

interface Watch {
  readonly scope: Scope
  readonly listeners: Set<(kind: Kind) => void>
  seen: Record<Kind, readonly CatalogEntry[]>
}

/** Tells clients that a list changed: only when its content did, never as a side effect of serving it. */
export class ChangeWatch {
  readonly #watches = new Map<string, Watch>()
  #timer: Timer | null = null
  readonly #leave: () => void

  constructor(
    private readonly store: Store,
    clock: Clock,
  ) {
    this.#leave = store.onCommit((snapshot, previous) => {
      if (this.#watches.size === 0 || snapshot.upstreams === previous.upstreams) return
      this.#timer ??= clock.after(COALESCE_MS, () => this.#compare())
    })
  }

  watch(scope: Scope, listener: (kind: Kind) => void): () => void {
    const key = scope.kind === 'all' ? '' : scope.name
    let watch = this.#watches.get(key)
    if (!watch) {
      watch = { scope, listeners: new Set(), seen: { ...catalogOf(this.store.current, scope).listed } }
      this.#watches.set(key, watch)
    }
    watch.listeners.add(listener)
    return () => {
      watch.listeners.delete(listener)
      if (watch.listeners.size === 0 && this.#watches.get(key) === watch) this.#watches.delete(key)
    }
  }

  stop(): void {
    this.#leave()
    this.#timer?.cancel()
    this.#watches.clear()
  }

  #compare(): void {
    this.#timer = null
    for (const watch of this.#watches.values()) {
      const now = catalogOf(this.store.current, watch.scope).listed
      const changed = KINDS.filter(kind => !sameEntries(watch.seen[kind], now[kind]))
      watch.seen = { ...now }
      for (const kind of changed) for (const listener of [...watch.listeners]) listener(kind)
    }
  }
}

function sameEntries(before: readonly CatalogEntry[], after: readonly CatalogEntry[]): boolean {
  if (before === after) return true
  if (before.length !== after.length) return false
  return before.every((entry, index) => {
    const other = after[index]
    return (
      other !== undefined &&
      entry.key === other.key &&
      entry.upstream === other.upstream &&
      sameBytes(entry.component.bytes, other.component.bytes)
    )
  })
}
