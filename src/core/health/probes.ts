/** What health checks found so far, for one connection. */
export interface Probes {
  /** Checks that failed in a row. */
  readonly failures: number
  readonly reason: string | null
}

export interface ProbePolicy {
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Failed checks in a row that make a server unhealthy. */
  readonly failures: number
  /** After a failed check, or a failed call, the next check comes sooner. */
  readonly soonMs: number
}

export const NO_PROBES: Probes = { failures: 0, reason: null }

export function probeSucceeded(current: Probes): Probes {
  return current.failures === 0 ? current : NO_PROBES
}

export function probeFailed(current: Probes, reason: string): Probes {
  return { failures: current.failures + 1, reason }
}

/**
 * When the next check is due.
 * @param random uniform in [0, 1): the interval is spread by a tenth either way, so that many servers are not asked together
 */
export function nextProbeIn(current: Probes, policy: ProbePolicy, random: number): number {
  const base = current.failures > 0 ? Math.min(policy.soonMs, policy.intervalMs) : policy.intervalMs
  return base * (0.9 + 0.2 * random)
}

/** A check is only worth its price when nothing else told how the server is. */
export function isProbeDue(facts: {
  readonly inFlight: number
  readonly sinceOkMs: number
  readonly failures: number
  readonly intervalMs: number
}): boolean {
  if (facts.failures > 0) return true
  return facts.inFlight === 0 && facts.sinceOkMs >= facts.intervalMs * 0.9
}

/** Too many in a row. */
export function isUnwell(current: Probes, policy: ProbePolicy): boolean {
  return current.failures >= policy.failures
}
