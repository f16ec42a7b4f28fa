import type { Component, Kind, Snapshot, UpstreamView } from '../../model/index.js'
import { itemsOf, matchesTemplate, nativeUri, prefixOf } from '../catalog/index.js'
import type { Candidate, Resolution } from './target.js'
import { isUnknown, undecided } from './undecided.js'

const KINDS: readonly Kind[] = ['resources', 'resourceTemplates']

/** Exact knowledge first, then the prefix that the URI carries, then templates, then whoever might mean it. */
export function resolveUri(snapshot: Snapshot, uri: string): Resolution {
  return (
    byRegistry(snapshot, uri) ??
    byPrefix(snapshot, uri) ??
    byTemplate(snapshot, uri) ??
    byAlias(snapshot, uri) ??
    byOfferingNoPrefix(snapshot, uri) ??
    undecided(snapshot, KINDS, view => isUncertain(view) && couldMean(snapshot, view, uri))
  )
}

function byRegistry(snapshot: Snapshot, uri: string): Resolution | null {
  for (const kind of KINDS) {
    const entry = snapshot.catalog.byKey[kind].get(uri)
    if (entry) return { kind: 'found', upstream: entry.upstream, native: entry.component.key, entry }
  }
  return null
}

/** A URI that no list holds (a template's instance, a sub-resource) still carries the prefix of its server. */
function byPrefix(snapshot: Snapshot, uri: string): Resolution | null {
  const prefix = prefixOf(uri)
  if (prefix === undefined) return null
  const native = nativeUri(prefix, uri) ?? uri
  const bearers = bearersOf(snapshot, prefix)
  const offering = bearers.filter(offersResources)
  if (offering.length > 0) return choose(offering.map(view => ({ upstream: view.name, native })))
  // Nobody else can mean it: a server without prefix would only say "not found" in place of the one that is down.
  const open = undecided(snapshot, KINDS, view => bearers.includes(view) && isUncertain(view))
  return open.kind === 'unknown' ? null : open
}

/** Servers whose URIs carry that prefix: those that have it, then the one that is qualified by it. */
function bearersOf(snapshot: Snapshot, prefix: string): UpstreamView[] {
  const views = [...snapshot.upstreams.values()]
  return [
    ...views.filter(view => view.prefix === prefix),
    ...views.filter(view => view.name === prefix && view.prefix !== prefix),
  ]
}

function byTemplate(snapshot: Snapshot, uri: string): Resolution | null {
  for (const entry of snapshot.catalog.listed.resourceTemplates) {
    if (!matchesTemplate(entry.key, uri)) continue
    const { upstream, component, key } = entry
    const prefix = snapshot.upstreams.get(upstream)?.prefix ?? ''
    const native = key === component.key ? uri : (nativeUri(prefix, uri) ?? uri)
    return { kind: 'found', upstream, native, entry: null }
  }
  return null
}

/** URIs inside texts cannot be rewritten; they still work as long as one server alone could mean them. */
function byAlias(snapshot: Snapshot, uri: string): Resolution | null {
  return (
    onlyOwner(snapshot, 'resources', uri, component => component.key === uri) ??
    onlyOwner(snapshot, 'resourceTemplates', uri, component => matchesTemplate(component.key, uri))
  )
}

function onlyOwner(
  snapshot: Snapshot,
  kind: Kind,
  native: string,
  owns: (component: Component) => boolean,
): Resolution | null {
  const owners = [...snapshot.upstreams.values()].filter(
    view => offersResources(view) && itemsOf(view, kind).some(owns),
  )
  const [owner] = owners
  return owner && owners.length === 1 ? { kind: 'found', upstream: owner.name, native, entry: null } : null
}

/** Servers without prefix may know URIs that they never listed. */
function byOfferingNoPrefix(snapshot: Snapshot, uri: string): Resolution | null {
  const views = [...snapshot.upstreams.values()].filter(view => view.prefix === '' && offersResources(view))
  return choose(views.map(view => ({ upstream: view.name, native: uri })))
}

function choose(candidates: readonly Candidate[]): Resolution | null {
  const [first] = candidates
  if (!first) return null
  return candidates.length === 1
    ? { kind: 'found', entry: null, ...first }
    : { kind: 'ask-in-order', candidates }
}

function offersResources(view: UpstreamView): boolean {
  if (view.state === 'disabled' || view.state === 'misconfigured') return false
  return KINDS.some(kind => 'items' in view.catalog[kind])
}

/** It may have resources that are not known, or not to be counted on, at this moment. */
function isUncertain(view: UpstreamView): boolean {
  if (isUnknown(view, KINDS)) return true
  return view.state === 'misconfigured' && KINDS.some(kind => view.catalog[kind].state !== 'absent')
}

/** A URI with the prefix of some server is no matter of those with another one. */
function couldMean(snapshot: Snapshot, view: UpstreamView, uri: string): boolean {
  const prefix = prefixOf(uri)
  if (prefix === undefined || view.prefix === '') return true
  const bearers = bearersOf(snapshot, prefix)
  return bearers.length === 0 || bearers.includes(view)
}
