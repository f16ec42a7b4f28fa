import type { MisconfiguredSpec, UpstreamSpec } from '../../model/index.js'
import { sameValue } from './same.js'

/** A configured server, or one that cannot work as written. */
export type Entry = UpstreamSpec | MisconfiguredSpec

/** What becomes of each server; every name of either side stands in exactly one list, in the order of the new config. */
export interface ReloadPlan {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** What they are has changed: a new one takes the place of the old one. */
  readonly restarted: readonly string[]
  /** Options that can change while they run. */
  readonly updated: readonly UpdatedServer[]
  readonly kept: readonly string[]
  /** The servers that stay come in another order, which decides about names that two of them offer. */
  readonly reordered: boolean
}

export interface UpdatedServer {
  readonly name: string
  /** The options that changed, by their names in the spec. */
  readonly options: readonly string[]
}

/** What is settled when a connection is made: a change of it needs a new one. */
const NEEDS_RESTART: ReadonlySet<string> = new Set(['transport', 'era', 'isolation'])

export function planReload(running: readonly Entry[], wanted: readonly Entry[]): ReloadPlan {
  const before = new Map(running.map(entry => [entry.name, entry]))
  const after = new Map(wanted.map(entry => [entry.name, entry]))
  const added: string[] = []
  const restarted: string[] = []
  const updated: UpdatedServer[] = []
  const kept: string[] = []
  for (const [name, entry] of after) {
    const old = before.get(name)
    if (!old) added.push(name)
    else {
      const options = changedOptions(old, entry)
      if (options === null) restarted.push(name)
      else if (options.length > 0) updated.push({ name, options })
      else kept.push(name)
    }
  }
  const removed = [...before.keys()].filter(name => !after.has(name))
  const stay = (names: Iterable<string>) => [...names].filter(name => before.has(name) && after.has(name))
  const reordered = !sameValue(stay(before.keys()), stay(after.keys()))
  return { added, removed, restarted, updated, kept, reordered }
}

/** Nothing to do. */
export function isEmptyPlan(plan: ReloadPlan): boolean {
  const { added, removed, restarted, updated, reordered } = plan
  return added.length + removed.length + restarted.length + updated.length === 0 && !reordered
}

/** Null = a restart is needed. */
function changedOptions(old: Entry, entry: Entry): readonly string[] | null {
  if ('problem' in old || 'problem' in entry) return sameValue(old, entry) ? [] : null
  const keys = new Set([...Object.keys(old), ...Object.keys(entry)])
  const [before, after] = [old, entry] as unknown as [Record<string, unknown>, Record<string, unknown>]
  const changed = [...keys].filter(key => !sameValue(before[key], after[key]))
  return changed.some(key => NEEDS_RESTART.has(key)) ? null : changed.sort()
}
