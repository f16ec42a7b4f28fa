import { type Breaker, verdictOf } from '../core/health/index.js'
import type { Fault, Supervised } from '../core/supervise/index.js'
import type {
  CatalogFindings,
  GatewayError,
  LastError,
  UpstreamCatalog,
  UpstreamSpec,
  UpstreamView,
} from '../model/index.js'
import { reasonOf } from './failures.js'
import type { Connection } from './ports.js'

export interface ViewFacts {
  /** An instance that one identity alone has; it may end before the gateway does. */
  readonly isOwn: boolean
  readonly spec: UpstreamSpec
  readonly machine: Supervised
  readonly breaker: Breaker
  readonly unwell: boolean
  readonly slow: boolean
  /** Why it is not well although it is connected. */
  readonly trouble: string | null
  readonly connection: Connection | null
  /** What everybody knew until now: what an earlier handshake told stays true until the next one. */
  readonly previous: UpstreamView | undefined
  readonly since: number
  readonly lastError: LastError | null
  /** Monotonic ms. */
  readonly nextAttemptDue: number | null
  /** How far the wall clock is ahead of the monotonic one now. */
  readonly wallAhead: number
  readonly settled: boolean
  readonly catalog: UpstreamCatalog
  readonly findings: CatalogFindings | undefined
}

/** What everybody may know of one upstream. */
export function viewOf(facts: ViewFacts): UpstreamView {
  const { spec, machine, connection, previous, breaker, catalog, nextAttemptDue } = facts
  const { state, failures, restarts } = machine
  const attempts = state.kind === 'ready' && breaker.kind !== 'closed' ? breaker.opens : failures
  const view = {
    name: spec.name,
    prefix: spec.prefix,
    transport: connection?.transport ?? configuredTransport(spec),
    state: state.kind,
    breaker: breaker.kind,
    since: facts.since,
    reason: state.kind === 'ready' ? facts.trouble : reasonFor(machine, spec, facts.isOwn),
    lastError: facts.lastError,
    nextAttemptAt: nextAttemptDue === null ? null : nextAttemptDue + facts.wallAhead,
    nextAttemptDue,
    attempts,
    restarts,
    pid: connection?.pid ?? null,
    protocolVersion: connection?.protocolVersion ?? previous?.protocolVersion ?? null,
    serverInfo: connection?.serverInfo ?? previous?.serverInfo ?? null,
    instructions: connection?.instructions ?? previous?.instructions ?? null,
    settled: facts.settled || state.kind === 'disabled' || (spec.lazy && state.kind === 'idle'),
    unavailable: spec.unavailable,
    isolation: spec.isolation,
    catalog,
    ...(facts.findings ? { findings: facts.findings } : {}),
  }
  const health = verdictOf({ ...view, unwell: facts.unwell, slow: facts.slow })
  return { ...view, health }
}

/** A sign-in that was wanted is still a fact when it can not even be reached any more. */
function reasonFor(machine: Supervised, spec: UpstreamSpec, isOwn: boolean): string | null {
  const { state, signIn } = machine
  const reason = presentReason(machine, spec, isOwn)
  const isTrying = state.kind === 'starting' || 'until' in state
  return isTrying && signIn !== null ? `${reason}; before that: ${signIn}` : reason
}

function presentReason({ state, lastFault }: Supervised, spec: UpstreamSpec, isOwn: boolean): string | null {
  switch (state.kind) {
    case 'ready':
      return null
    case 'backoff':
    case 'quarantined':
    case 'misconfigured':
    case 'auth_required':
      return state.fault.reason
    case 'starting':
      return lastFault ? `starting again after: ${lastFault.reason}` : 'still starting'
    case 'idle':
      return spec.supervision.wake
        ? 'asleep: the next call wakes it'
        : 'not started: it is lazy and nobody uses it'
    case 'disabled':
      return spec.enabled ? 'disabled by hand, until the gateway ends' : 'disabled in the configuration'
    case 'draining':
    case 'stopped':
      return isOwn ? 'the instance for this client was ended' : 'the gateway is stopping'
  }
}

/** @param counts whether the end is one of those that lead to quarantine */
export function faultOf(error: GatewayError, counts: boolean, ours: boolean): Fault {
  const reason = reasonOf(error)
  const { retryAfterMs, local, sessionLost } = error.details
  if (error.kind === 'misconfigured' || error.kind === 'auth_required') return { class: error.kind, reason }
  // Good credentials that do not suffice: a person has to act too.
  if (error.code === 'FORBIDDEN') return { class: 'auth_required', reason }
  return {
    class: 'outage',
    reason,
    counts,
    local: local === true || ours,
    ...(sessionLost ? { renews: true } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

function configuredTransport(spec: UpstreamSpec): UpstreamView['transport'] {
  return spec.transport.kind === 'auto' ? 'http' : spec.transport.kind
}
