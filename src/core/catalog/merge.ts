import {
  type CatalogEntry,
  type Component,
  itemsIn,
  KINDS,
  type Kind,
  type MergedCatalog,
  type Shadowed,
  type UpstreamView,
} from '../../model/index.js'
import { isServing } from '../health/index.js'
import { publicName } from './names.js'
import { publicUri } from './uris.js'

/**
 * What clients see, in config order. The first owner of a name has it, whoever answered first; a later one is reported
 * as shadowed and stays callable under `SERVER__NAME` where that is free.
 */
export function mergeCatalogs(views: Iterable<UpstreamView>): MergedCatalog {
  const known = [...views].filter(view => view.state !== 'disabled')
  const shown = new Set(known.filter(isListed).map(view => view.name))
  const listed = {} as Record<Kind, readonly CatalogEntry[]>
  const byKey = {} as Record<Kind, ReadonlyMap<string, CatalogEntry>>
  const shadowed: Shadowed[] = []
  for (const kind of KINDS) {
    const owned = new Map<string, CatalogEntry>()
    const losers: CatalogEntry[] = []
    for (const view of known) claim(view, kind, owned, losers)
    listed[kind] = Object.freeze(
      [...owned.values()].filter(entry => shown.has(entry.upstream) && isUsable(entry)),
    )
    for (const loser of losers) shadowed.push(qualify(loser, owned))
    byKey[kind] = owned
  }
  return freeze({ listed, byKey, shadowed })
}

/** Of no server at all. */
export const EMPTY_MERGED: MergedCatalog = mergeCatalogs([])

function freeze(merged: MergedCatalog): MergedCatalog {
  for (const part of Object.values(merged)) Object.freeze(part)
  return Object.freeze(merged)
}

/** One that is not listed keeps its names: nobody else's tool may run in its place while it is away. */
function isListed(view: UpstreamView): boolean {
  if (view.state === 'misconfigured') return false
  return view.unavailable !== 'hide' || isServing(view)
}

function claim(
  view: UpstreamView,
  kind: Kind,
  owned: Map<string, CatalogEntry>,
  losers: CatalogEntry[],
): void {
  const lost = new Set<string>()
  for (const component of itemsOf(view, kind)) {
    const entry = entryFor(view, component)
    const owner = owned.get(entry.key)
    if (!owner) owned.set(entry.key, entry)
    else if (owner.upstream !== view.name && !lost.has(entry.key)) {
      lost.add(entry.key)
      losers.push(entry)
    }
  }
}

const entries = new WeakMap<Component, CatalogEntry>()

/** The same object for the same component under the same name: what is rendered for it once need not be again. */
function entryFor(view: UpstreamView, component: Component): CatalogEntry {
  const key = publicKey(view.prefix, component)
  const known = entries.get(component)
  if (known?.key === key && known.upstream === view.name) return known
  const entry = Object.freeze({ kind: component.kind, key, upstream: view.name, component })
  entries.set(component, entry)
  return entry
}

function publicKey(prefix: string, component: Component): string {
  const named = component.kind === 'tools' || component.kind === 'prompts'
  return named ? publicName(prefix, component.key) : publicUri(prefix, component.key)
}

function qualify(loser: CatalogEntry, owned: Map<string, CatalogEntry>): Shadowed {
  const { kind, key, upstream, component } = loser
  const by = owned.get(key)?.upstream ?? ''
  const qualified = publicKey(upstream, component)
  const reachableAs = owned.has(qualified) ? null : qualified
  if (reachableAs !== null) owned.set(reachableAs, Object.freeze({ ...loser, key: reachableAs }))
  return Object.freeze({ kind, key, upstream, by, reachableAs })
}

/** One that is held keeps its name for the same reason. */
function isUsable({ component }: CatalogEntry): boolean {
  return component.held === undefined
}

/** Components of one kind that a server is known to offer. */
export function itemsOf(view: UpstreamView, kind: Kind): readonly Component[] {
  return itemsIn(view.catalog[kind])
}

const scoped = new WeakMap<UpstreamView['catalog'], { name: string; merged: MergedCatalog }>()

/** One server under its own names. Kept by catalog, because a view changes far more often than its catalog. */
export function scopeToServer(view: UpstreamView): MergedCatalog {
  const known = scoped.get(view.catalog)
  if (known?.name === view.name) return known.merged
  const merged = mergeOne(view)
  scoped.set(view.catalog, { name: view.name, merged })
  return merged
}

function mergeOne(view: UpstreamView): MergedCatalog {
  const listed = {} as Record<Kind, readonly CatalogEntry[]>
  const byKey = {} as Record<Kind, ReadonlyMap<string, CatalogEntry>>
  for (const kind of KINDS) {
    const owned = new Map<string, CatalogEntry>()
    for (const component of itemsOf(view, kind)) {
      const entry = { kind, key: component.key, upstream: view.name, component }
      if (!owned.has(entry.key)) owned.set(entry.key, Object.freeze(entry))
    }
    listed[kind] = Object.freeze([...owned.values()].filter(isUsable))
    byKey[kind] = owned
  }
  return freeze({ listed, byKey, shadowed: [] })
}
