import type { Suspicion } from '../core/health/index.js'
import type { Host } from './ports.js'
import type { Store } from './store.js'

export interface SupervisorEvents {
  stderr(upstream: string, line: string): void
  warning(upstream: string, message: string): void
}

/** What the supervisors of one gateway share. */
export interface Neighbourhood {
  readonly host: Host
  readonly store: Pick<Store, 'current' | 'viewOf' | 'commitView'>
  readonly events: SupervisorEvents
  readonly suspicion: Suspicion
  /** Whose alone it is; absent = everybody's, and nothing else may be written down. */
  readonly owner?: string
}

/** Servers that are meant to run now. */
export function inUse({ store }: Pick<Neighbourhood, 'store'>): number {
  let total = 0
  for (const { state } of store.current.upstreams.values()) {
    if (state !== 'disabled' && state !== 'misconfigured' && state !== 'idle') total += 1
  }
  return total
}
