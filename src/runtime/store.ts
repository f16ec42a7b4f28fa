import { mergeCatalogs } from '../core/catalog/index.js'
import {
  itemsIn,
  KINDS,
  type MergedCatalog,
  type Snapshot,
  type UpstreamCatalog,
  type UpstreamView,
} from '../model/index.js'

export type SnapshotListener = (snapshot: Snapshot, previous: Snapshot) => void

type Views = ReadonlyMap<string, UpstreamView>

/** Holds the current snapshot. The only writer: nothing else in the gateway builds one. */
export class Store {
  #catalog = lazyCatalog(new Map())
  #current: Snapshot = snapshotOf(0, new Map(), this.#catalog)
  readonly #listeners = new Set<SnapshotListener>()

  get current(): Snapshot {
    return this.#current
  }

  /** Replaces one view, or adds it at the end. */
  commitView(view: UpstreamView): void {
    const views = new Map(this.#current.upstreams)
    views.set(view.name, Object.freeze(view))
    this.commitViews(views)
  }

  /** Replaces all views; the order of the map is config order. */
  commitViews(views: Views): void {
    const previous = this.#current
    if (!sameCatalogInputs(previous.upstreams, views)) this.#catalog = lazyCatalog(views)
    this.#current = snapshotOf(previous.version + 1, views, this.#catalog)
    // A copy: a listener may leave while it is told, and one that left, in a commit of another's doing too, hears no more.
    for (const listener of [...this.#listeners])
      if (this.#listeners.has(listener)) this.#tell(listener, previous)
  }

  /** One that fails keeps nobody else from hearing, and undoes nothing; its fault is told as that of any event. */
  #tell(listener: SnapshotListener, previous: Snapshot): void {
    try {
      listener(this.#current, previous)
    } catch (thrown) {
      void Promise.reject(thrown)
    }
  }

  onCommit(listener: SnapshotListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/**
 * What one identity sees: the views of another store, with some of them behind a cover, so that nothing of theirs
 * shows through, and its own in their place.
 */
export class Overlay extends Store {
  readonly #own = new Map<string, UpstreamView>()
  readonly #leave: () => void

  /** @param cover what is seen in place of a view while there is no own one; null where everybody sees the view itself */
  constructor(
    private readonly base: Store,
    private readonly cover: (view: UpstreamView) => UpstreamView | null,
  ) {
    super()
    this.#rebuild()
    this.#leave = base.onCommit((snapshot, previous) => {
      if (snapshot.upstreams !== previous.upstreams) this.#rebuild()
    })
  }

  override commitView(view: UpstreamView): void {
    this.#own.set(view.name, Object.freeze(view))
    this.#rebuild()
  }

  /** Whoever waits here looks again. */
  refresh(): void {
    this.#rebuild()
  }

  /** Takes the own view away; the cover is seen again. */
  clear(name: string): void {
    if (this.#own.delete(name)) this.#rebuild()
  }

  /** From now on it hears of nothing. */
  detach(): void {
    this.#leave()
  }

  #rebuild(): void {
    const views = new Map<string, UpstreamView>()
    for (const [name, view] of this.base.current.upstreams) {
      const covered = this.cover(view)
      views.set(name, covered ? (this.#own.get(name) ?? Object.freeze(covered)) : view)
    }
    this.commitViews(views)
  }
}

function snapshotOf(version: number, upstreams: Views, catalog: () => MergedCatalog): Snapshot {
  return Object.freeze({
    version,
    upstreams,
    get catalog() {
      return catalog()
    },
  })
}

/** The merged catalog is made when first asked for: a boot of 200 servers commits often and lists seldom. */
function lazyCatalog(views: Views): () => MergedCatalog {
  let merged: MergedCatalog | null = null
  return () => (merged ??= mergeCatalogs(views.values()))
}

function sameCatalogInputs(before: Views, after: Views): boolean {
  if (before.size !== after.size) return false
  // The order decides who has a name that two of them offer.
  const order = before.keys()
  for (const [name, view] of after) {
    const old = before.get(name)
    if (order.next().value !== name) return false
    if (!old || !sameOffer(old.catalog, view.catalog) || old.prefix !== view.prefix) return false
    const same = old.state === view.state && old.breaker === view.breaker
    if (!same && affectsListing(old, view)) return false
  }
  return true
}

/** A list that was fetched again and is the same changes nothing. */
function sameOffer(before: UpstreamCatalog, after: UpstreamCatalog): boolean {
  return before === after || KINDS.every(kind => itemsIn(before[kind]) === itemsIn(after[kind]))
}

/** A change of state alone changes the merged lists only for these. */
function affectsListing(old: UpstreamView, view: UpstreamView): boolean {
  const gone = (v: UpstreamView) => v.state === 'disabled' || v.state === 'misconfigured'
  return view.unavailable === 'hide' || gone(old) !== gone(view)
}
