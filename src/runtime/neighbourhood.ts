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
  readonly store: Pick<Store, 'current' | 'commitView'>
  readonly events: SupervisorEvents
  readonly suspicion: Suspicion
  /** Whose alone it is; absent = everybody's, and nothing else may be written down. */
  readonly owner?: string
}
