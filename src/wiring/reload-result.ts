import { type ConfigReading, type Fault, placeOf } from '../config/index.js'
import { changesIn, type Entry, type ReloadPlan, type ServerChange, sameValue } from '../core/reload/index.js'

/** What a reload did, or would do. */
export interface ReloadResult {
  /** False when nothing, or not all, of it was taken over: `errors` say why. */
  readonly ok: boolean
  /** Counts the configurations that were taken over; the one of the start is 1. */
  readonly generation: number
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** Changed in place, or by a new version in place of the old one. */
  readonly updated: readonly string[]
  readonly unchanged: readonly string[]
  /** The servers that stay come in another order, which decides about names that two of them offer. */
  readonly reordered: boolean
  /** What is different at each server. Nothing of how a server is reached is shown with its value. */
  readonly changes: readonly ServerChange[]
  /** Options of the gateway itself that changed. */
  readonly settings: readonly string[]
  readonly errors: readonly string[]
  readonly warnings: readonly string[]
}

/** Servers that are misconfigured exactly as they are now keep nothing else from being taken over. */
export function newErrors(reading: ConfigReading, running: readonly Entry[]): readonly string[] {
  const now = new Map(running.map(entry => [entry.name, entry]))
  const wanted = new Map(reading.upstreams.map(entry => [entry.name, entry]))
  const isKnown = ({ server = '' }: Fault) => {
    const entry = now.get(server)
    return entry !== undefined && 'problem' in entry && sameValue(entry, wanted.get(server))
  }
  const errors = reading.faults.filter(fault => fault.severity === 'error' && !isKnown(fault))
  return errors.map(fault => said(fault, reading.path))
}

export function warningsIn({ faults, path }: ConfigReading): readonly string[] {
  return faults.filter(({ severity }) => severity === 'warning').map(fault => said(fault, path))
}

/** `FILE:LINE:COLUMN: KEY: what is wrong (what to do)`; an object of a program has no file. */
function said(fault: Fault, path: string | undefined): string {
  const place = path === undefined ? '' : placeOf(fault, path)
  const where = [place, fault.key].filter(part => part !== '').map(part => `${part}: `)
  return `${where.join('')}${fault.message} (${fault.fix})`
}

/** @param failed the old versions of these serve on */
export function servers(
  plan: ReloadPlan,
  running: readonly Entry[],
  wanted: readonly Entry[],
  failed: ReadonlySet<string> = new Set(),
): Pick<ReloadResult, 'added' | 'removed' | 'updated' | 'unchanged' | 'reordered' | 'changes'> {
  const isTaken = (name: string) => !failed.has(name)
  const { added, removed, reordered } = plan
  return {
    added,
    removed,
    updated: [...plan.restarted, ...plan.updated.map(({ name }) => name)].filter(isTaken),
    unchanged: [...plan.kept, ...failed],
    reordered,
    changes: changesIn(plan, running, wanted).filter(({ server }) => isTaken(server)),
  }
}

/** Nothing changes: there is nothing to change, or the errors say why. */
export function unchanged(
  generation: number,
  running: readonly Entry[],
  errors: readonly string[],
  warnings: readonly string[] = [],
): ReloadResult {
  return {
    ok: errors.length === 0,
    generation,
    added: [],
    removed: [],
    updated: [],
    unchanged: running.map(({ name }) => name),
    reordered: false,
    changes: [],
    settings: [],
    errors,
    warnings,
  }
}
