import type { Entry, ReloadPlan } from './plan.js'
import { sameValue } from './same.js'

/** An option that is not what it was. What may hold a secret (all of how a server is reached) has no values here. */
export interface OptionChange {
  /** As it is written in a config: `requestTimeout`, `env.TOKEN`. */
  readonly option: string
  /** As JSON, times in ms; absent = not shown. */
  readonly before?: string
  readonly after?: string
}

export interface ServerChange {
  readonly server: string
  readonly how: 'added' | 'removed' | 'restarted' | 'updated'
  readonly options: readonly OptionChange[]
}

/** A plan in words for people, in the order of the new config, and then what goes. */
export function changesIn(
  plan: ReloadPlan,
  running: readonly Entry[],
  wanted: readonly Entry[],
): readonly ServerChange[] {
  const before = new Map(running.map(entry => [entry.name, entry]))
  const updated = new Set(plan.updated.map(({ name }) => name))
  const [added, restarted] = [new Set(plan.added), new Set(plan.restarted)]
  const changes = wanted.flatMap((entry): ServerChange[] => {
    const { name: server } = entry
    if (added.has(server)) return [{ server, how: 'added', options: [] }]
    const old = before.get(server)
    if (!old || !(restarted.has(server) || updated.has(server))) return []
    return [{ server, how: restarted.has(server) ? 'restarted' : 'updated', options: optionsOf(old, entry) }]
  })
  return [
    ...changes,
    ...plan.removed.map((server): ServerChange => ({ server, how: 'removed', options: [] })),
  ]
}

function optionsOf(old: Entry, entry: Entry): OptionChange[] {
  if ('problem' in old || 'problem' in entry) {
    const said = (one: Entry) => ('problem' in one ? 'misconfigured' : 'configured')
    return [{ option: 'entry', before: said(old), after: said(entry) }]
  }
  const { transport: was, ...before } = old
  const { transport: is, ...after } = entry
  const reached = leavesThatDiffer(was, is, []).map(({ path }) => ({
    option: path.join('.').replace(/^kind$/, 'type'),
  }))
  const others = leavesThatDiffer(before, after, []).flatMap(({ path, from, to }) => {
    const option = optionName(path)
    return option === null ? [] : [{ option, before: shown(from), after: shown(to) }]
  })
  return [...reached, ...others]
}

interface Leaf {
  readonly path: readonly string[]
  readonly from: unknown
  readonly to: unknown
}

/** Lists count as one value. */
function leavesThatDiffer(from: unknown, to: unknown, path: readonly string[]): Leaf[] {
  if (sameValue(from, to)) return []
  const [left, right] = [from ?? {}, to ?? {}]
  if (!isRecord(left) || !isRecord(right)) return [{ path, from, to }]
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...keys].sort().flatMap(key => leavesThatDiffer(left[key], right[key], [...path, key]))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The name that an option of a spec has in a config; null for one that follows from another. */
export function optionName([first = '', ...rest]: readonly string[]): string | null {
  if (first === 'timeouts') return rest[0] === 'listTotal' ? null : `${rest[0]}Timeout`
  const path = first === 'supervision' ? rest : [first, ...rest]
  return path.join('.').replace(/Ms$/, '')
}

function shown(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)
}
