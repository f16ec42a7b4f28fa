import type { Kind, Scope, Snapshot, UpstreamView } from '../../model/index.js'
import { couldOwnName } from '../catalog/index.js'
import { isServing } from '../health/index.js'
import type { Resolution, Target } from './target.js'

/** Nobody is known to be the owner: are there servers that could be it and cannot be judged now? */
export function undecided(
  snapshot: Snapshot,
  kinds: readonly Kind[],
  couldOwn: (view: UpstreamView) => boolean,
): Resolution {
  const pending: string[] = []
  const unavailable: string[] = []
  for (const view of snapshot.upstreams.values()) {
    if (view.state === 'disabled' || !couldOwn(view)) continue
    if (isComing(view, kinds)) pending.push(view.name)
    else unavailable.push(view.name)
  }
  return pending.length + unavailable.length === 0
    ? { kind: 'unknown' }
    : { kind: 'undecided', pending, unavailable }
}

/** Servers that may have got a tool or prompt of that name since their lists were fetched. */
export function couldHave(snapshot: Snapshot, scope: Scope, target: Target): readonly string[] {
  if (!('name' in target)) return []
  const { name } = target
  return [...snapshot.upstreams.values()].flatMap(view => {
    if (!isServing(view) || (scope.kind === 'server' && scope.name !== view.name)) return []
    const could = scope.kind === 'server' || couldOwnName(view.prefix, name) || couldOwnName(view.name, name)
    return could ? [view.name] : []
  })
}

/** What the server offers of these kinds is not known in full. */
export function isUnknown(view: UpstreamView, kinds: readonly Kind[]): boolean {
  return kinds.some(kind => {
    const catalog = view.catalog[kind]
    // Known from an earlier run only: it may have got more since.
    if (catalog.state === 'stale' && !view.settled) return true
    return catalog.state === 'unknown' || (catalog.state === 'failed' && catalog.items.length === 0)
  })
}

/** On its way: worth a short wait. One that failed again and again is not; whoever wakes it may wait for it. */
function isComing(view: UpstreamView, kinds: readonly Kind[]): boolean {
  if (view.state === 'idle' || (view.state === 'starting' && view.attempts <= 1)) return true
  if (view.state !== 'ready') return false
  // Connected and never listed: its lists are being fetched at this moment.
  return !view.settled || kinds.some(kind => view.catalog[kind].state === 'unknown')
}
