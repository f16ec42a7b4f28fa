import {
  type BreakerState,
  type Health,
  KINDS,
  type LifecycleState,
  type UpstreamCatalog,
} from '../../model/index.js'

export interface HealthFacts {
  readonly state: LifecycleState
  readonly breaker: BreakerState
  /** Starts that failed in a row. */
  readonly attempts: number
  /** Too many checks failed in a row. */
  readonly unwell: boolean
  /** A request was answered after the checks began to fail, or takes very long. */
  readonly slow: boolean
  readonly catalog: UpstreamCatalog
}

/** One word for how a server does. */
export function verdictOf(facts: HealthFacts): Health {
  switch (facts.state) {
    case 'ready':
      return whileReady(facts)
    case 'starting':
      return facts.attempts > 0 ? 'unhealthy' : 'unknown'
    case 'idle':
    case 'disabled':
    case 'draining':
    case 'stopped':
      return 'unknown'
    default:
      return 'unhealthy'
  }
}

function whileReady({ breaker, unwell, slow, catalog }: HealthFacts): Health {
  if (breaker !== 'closed') return 'unhealthy'
  if (unwell) return slow ? 'degraded' : 'unhealthy'
  return slow || KINDS.some(kind => catalog[kind].state === 'failed') ? 'degraded' : 'healthy'
}

/** Calls can be sent there now. */
export function isServing(view: { readonly state: LifecycleState; readonly breaker: BreakerState }): boolean {
  return view.state === 'ready' && view.breaker === 'closed'
}
