import type { Kind, Scope, Snapshot, UpstreamView } from '../../model/index.js'
import { couldOwnName, scopeToServer } from '../catalog/index.js'
import { resolveUri } from './resolve-uri.js'
import { kindsOf, type Resolution, type Target } from './target.js'

const UNKNOWN: Resolution = { kind: 'unknown' }

/** Finds the owner of a target. The owner stays the owner while it is down: nobody else's tool is run in its place. */
export function resolve(snapshot: Snapshot, scope: Scope, target: Target): Resolution {
  if (scope.kind === 'server') return resolveAtServer(snapshot, scope.name, target)
  switch (target.kind) {
    case 'tool':
      return resolveName(snapshot, 'tools', target)
    case 'prompt':
    case 'ref-prompt':
      return resolveName(snapshot, 'prompts', target)
    case 'resource':
    case 'ref-resource':
      return resolveUri(snapshot, target) ?? undecided(snapshot, kindsOf(target), () => true)
    case 'server':
      return UNKNOWN
  }
}

function resolveName(snapshot: Snapshot, kind: Kind, target: { readonly name: string }): Resolution {
  const entry = snapshot.catalog.byKey[kind].get(target.name)
  if (entry) return { kind: 'found', upstream: entry.upstream, native: entry.component.key, entry }
  return undecided(snapshot, [kind], view => couldOwnName(view.prefix, target.name))
}

/** Servers of which it is not known what they offer, and that could be the owner. */
export function undecided(
  snapshot: Snapshot,
  kinds: readonly Kind[],
  couldOwn: (view: UpstreamView) => boolean,
): Resolution {
  const pending: string[] = []
  const unavailable: string[] = []
  for (const view of snapshot.upstreams.values()) {
    if (view.state === 'disabled' || !kinds.some(kind => isUnknown(view, kind)) || !couldOwn(view)) continue
    if (isComing(view)) pending.push(view.name)
    else unavailable.push(view.name)
  }
  return pending.length + unavailable.length === 0 ? UNKNOWN : { kind: 'undecided', pending, unavailable }
}

function isUnknown(view: UpstreamView, kind: Kind): boolean {
  const catalog = view.catalog[kind]
  return catalog.state === 'unknown' || (catalog.state === 'failed' && catalog.items.length === 0)
}

/** On its way up: worth a short wait. One that failed again and again is not; whoever wakes it may wait for it. */
function isComing(view: UpstreamView): boolean {
  if (view.state === 'idle' || (view.state === 'starting' && view.attempts <= 1)) return true
  return view.state === 'ready' && !view.settled
}

function resolveAtServer(snapshot: Snapshot, name: string, target: Target): Resolution {
  const view = snapshot.upstreams.get(name)
  if (!view) return UNKNOWN
  if (target.kind === 'server') return { kind: 'found', upstream: name, native: '', entry: null }
  const kinds = kindsOf(target)
  const native = 'uri' in target ? target.uri : target.name
  const catalog = scopeToServer(view)
  for (const kind of kinds) {
    const entry = catalog.byKey[kind].get(native)
    if (entry) return { kind: 'found', upstream: name, native, entry }
  }
  // Any URI may be readable at a server that has resources at all: it knows best.
  const offered = kinds.some(kind => view.catalog[kind].state === 'live')
  if ('uri' in target && offered) return { kind: 'found', upstream: name, native, entry: null }
  return undecided(snapshot, kinds, candidate => candidate === view)
}
