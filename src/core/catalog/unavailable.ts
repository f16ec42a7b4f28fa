import { itemsIn, type Kind, type Scope, type Snapshot, type UpstreamView } from '../../model/index.js'
import { isServing } from '../health/index.js'

/** A server whose part of a list is missing, old, or could not be had. */
export interface Missing {
  readonly view: UpstreamView
  /** Set when the server is up and only this kind failed. */
  readonly kind?: Kind
  /** True when its last known entries are still listed. */
  readonly stale: boolean
}

/** Everybody who may be missed in a list of that kind; empty when the list is whole. */
export function missingFor(snapshot: Snapshot, kind: Kind, scope: Scope): Missing[] {
  const missing: Missing[] = []
  for (const view of snapshot.upstreams.values()) {
    if (scope.kind === 'server' && scope.name !== view.name) continue
    const found = judge(view, kind)
    if (found) missing.push(found)
  }
  return missing
}

function judge(view: UpstreamView, kind: Kind): Missing | null {
  if (view.state === 'disabled') return null
  const catalog = view.catalog[kind]
  if (catalog.state === 'absent') return null
  const listed = itemsIn(catalog).length > 0 && view.unavailable !== 'hide'
  if (isServing(view)) {
    if (catalog.state === 'failed') return { view, kind, stale: catalog.items.length > 0 }
    // Known from an earlier run, and not yet fetched in this one.
    if (catalog.state === 'stale' && !view.settled) return { view, kind, stale: true }
    return catalog.state === 'unknown' ? { view, stale: false } : null
  }
  // Asleep until first use, and what it offers is known.
  if (view.state === 'idle' && 'fetchedAt' in catalog) return null
  return { view, stale: view.state !== 'misconfigured' && listed }
}
