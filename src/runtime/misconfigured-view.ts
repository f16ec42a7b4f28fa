import { type MisconfiguredSpec, NEVER_CONNECTED, type UpstreamView } from '../model/index.js'

/** What is seen of an entry that cannot work as it is written. */
export function misconfiguredView(spec: MisconfiguredSpec, now: number): UpstreamView {
  return {
    ...NEVER_CONNECTED,
    name: spec.name,
    prefix: spec.prefix,
    transport: 'unknown',
    state: 'misconfigured',
    health: 'unhealthy',
    since: now,
    reason: spec.problem,
    lastError: { kind: 'misconfigured', message: spec.problem, at: now },
    unavailable: 'keep',
    isolation: 'shared',
  }
}
