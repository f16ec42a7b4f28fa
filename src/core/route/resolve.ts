import type { Scope, Snapshot, UpstreamView } from '../../model/index.js'
import { couldOwnName, scopeToServer } from '../catalog/index.js'
import { resolveUri } from './resolve-uri.js'
import { kindsOf, type Resolution, type Target } from './target.js'
import { isUnknown, undecided } from './undecided.js'

const UNKNOWN: Resolution = { kind: 'unknown' }

/** Finds the owner of a target. The owner stays the owner while it is down: nobody else's tool is run in its place. */
export function resolve(snapshot: Snapshot, scope: Scope, target: Target): Resolution {
  if (scope.kind === 'server') return resolveAtServer(snapshot, scope.name, target)
  switch (target.kind) {
    case 'tool':
      return resolveName(snapshot, 'tools', target.name)
    case 'prompt':
    case 'ref-prompt':
      return resolveName(snapshot, 'prompts', target.name)
    case 'resource':
    case 'ref-resource':
      return resolveUri(snapshot, target.uri)
    case 'server':
      return UNKNOWN
  }
}

function resolveName(snapshot: Snapshot, kind: 'tools' | 'prompts', name: string): Resolution {
  const entry = snapshot.catalog.byKey[kind].get(name)
  if (entry) return { kind: 'found', upstream: entry.upstream, native: entry.component.key, entry }
  const kinds = [kind]
  return undecided(snapshot, kinds, view => isUnknown(view, kinds) && couldOwn(view, name))
}

/** Under its prefix, or under its own name if an earlier server has the name. */
function couldOwn(view: UpstreamView, name: string): boolean {
  return couldOwnName(view.prefix, name) || couldOwnName(view.name, name)
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
  const offered = kinds.some(kind => 'items' in view.catalog[kind])
  if ('uri' in target && offered) return { kind: 'found', upstream: name, native, entry: null }
  return undecided(snapshot, kinds, candidate => candidate === view && isUnknown(view, kinds))
}
