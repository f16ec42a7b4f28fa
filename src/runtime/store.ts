import { mergeCatalogs } from '../core/catalog/index.js'
import {
  itemsIn,
  KINDS,
  type MergedCatalog,
  type Snapshot,
  type UpstreamCatalog,
  type UpstreamView,
} from '../model/index.js'

/** @param changed servers whose view is another one now, or gone */
export type SnapshotListener = (snapshot: Snapshot, previous: Snapshot, changed: ReadonlySet<string>) => void

type Views = ReadonlyMap<string, UpstreamView>

/** Holds the current snapshot. The only writer: nothing else in the gateway builds one. */
export class Store {
  #catalog = lazyCatalog(new Map())
  #current: Snapshot = snapshotOf(0, new Map(), this.#catalog)
  readonly #listeners = new Set<SnapshotListener>()
  /** While nobody is told: the last snapshot that was, and what changed since. */
  #held: { readonly told: Snapshot; readonly changed: Set<string> } | null = null
  /** Committed, and in no snapshot yet. */
  readonly #pending = new Map<string, UpstreamView>()

  get current(): Snapshot {
    if (this.#pending.size > 0) this.#include()
    return this.#current
  }

  /** As in the current snapshot, which need not be made for it. */
  viewOf(name: string): UpstreamView | undefined {
    return this.#pending.get(name) ?? this.#current.upstreams.get(name)
  }

  /** Replaces one view, or adds it at the end. */
  commitView(view: UpstreamView): void {
    this.#pending.set(view.name, Object.freeze(view))
    if (this.#held) {
      this.#held.changed.add(view.name)
      return
    }
    const previous = this.#current
    this.#include()
    this.#tellAll(previous, new Set([view.name]))
  }

  /** Replaces all views; the order of the map is config order. */
  commitViews(views: Views): void {
    const previous = this.current
    const changed = changedBetween(previous.upstreams, views)
    this.#replace(
      views,
      sameOrder(previous.upstreams, views) && sameInputs(previous.upstreams, views, changed),
    )
    if (this.#held) for (const name of changed) this.#held.changed.add(name)
    else this.#tellAll(previous, changed)
  }

  /**
   * From now on nobody is told, so that thousands of changes at one time cost as much as one; what is read is as it is.
   * @returns tells what came meanwhile, at once; idempotent
   */
  hold(): () => void {
    const held = { told: this.current, changed: new Set<string>() }
    if (this.#held) return () => undefined
    this.#held = held
    return () => {
      if (this.#held !== held) return
      this.#held = null
      if (this.current !== held.told) this.#tellAll(held.told, held.changed)
    }
  }

  onCommit(listener: SnapshotListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #include(): void {
    const before = this.#current.upstreams
    const views = new Map(before)
    for (const [name, view] of this.#pending) views.set(name, view)
    const isSame = views.size === before.size && sameInputs(before, views, this.#pending.keys())
    this.#pending.clear()
    this.#replace(views, isSame)
  }

  /** @param isSame the merged lists of before are those of now */
  #replace(views: Views, isSame: boolean): void {
    if (!isSame) this.#catalog = lazyCatalog(views)
    this.#current = snapshotOf(this.#current.version + 1, views, this.#catalog)
  }

  #tellAll(previous: Snapshot, changed: ReadonlySet<string>): void {
    // A copy: a listener may leave while it is told, and one that left, in a commit of another's doing too, hears no more.
    for (const listener of [...this.#listeners])
      if (this.#listeners.has(listener)) this.#tell(listener, previous, changed)
  }

  /** One that fails keeps nobody else from hearing, and undoes nothing; its fault is told as that of any event. */
  #tell(listener: SnapshotListener, previous: Snapshot, changed: ReadonlySet<string>): void {
    try {
      listener(this.current, previous, changed)
    } catch (thrown) {
      void Promise.reject(thrown)
    }
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

function changedBetween(before: Views, after: Views): ReadonlySet<string> {
  const changed = new Set<string>()
  for (const [name, view] of after) if (before.get(name) !== view) changed.add(name)
  for (const name of before.keys()) if (!after.has(name)) changed.add(name)
  return changed
}

/** The order decides who has a name that two of them offer. */
function sameOrder(before: Views, after: Views): boolean {
  if (before.size !== after.size) return false
  const order = before.keys()
  for (const name of after.keys()) if (order.next().value !== name) return false
  return true
}

/** Whether what changed makes no difference to the merged lists. */
function sameInputs(before: Views, after: Views, changed: Iterable<string>): boolean {
  for (const name of changed) {
    const [old, view] = [before.get(name), after.get(name)]
    if (!old || !view || !sameOffer(old.catalog, view.catalog) || old.prefix !== view.prefix) return false
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
