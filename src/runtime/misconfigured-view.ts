import { EMPTY_CATALOG, type MisconfiguredSpec, type UpstreamView } from '../model/index.js'

/** What is seen of an entry that cannot work as it is written. */
export function misconfiguredView(spec: MisconfiguredSpec, now: number): UpstreamView {
  return {
    name: spec.name,
    prefix: spec.prefix,
    transport: 'unknown',
    state: 'misconfigured',
    breaker: 'closed',
    health: 'unhealthy',
    since: now,
    reason: spec.problem,
    lastError: { kind: 'misconfigured', message: spec.problem, at: now },
    nextAttemptAt: null,
    nextAttemptDue: null,
    attempts: 0,
    restarts: 0,
    pid: null,
    protocolVersion: null,
    serverInfo: null,
    instructions: null,
    settled: true,
    unavailable: 'keep',
    isolation: 'shared',
    catalog: EMPTY_CATALOG,
  }
}
