import { GatewayError } from '../model/index.js'
import { reasonOf } from './failures.js'
import { heldWithin } from './held-within.js'
import type { Clock, Connection } from './ports.js'

// Why a connection is ended that did not end by itself.

/** It does not answer. @param what how that was seen */
export function hung(error: GatewayError, what: string): GatewayError {
  const reason = `${what} (${reasonOf(error)})`
  const upstream = error.details.upstream ?? ''
  const message = `${upstream}: ${reason}. The request may or may not have run; check before repeating it.`
  return new GatewayError('OUTCOME_UNKNOWN', message, { upstream, reason, phase: 'unknown' })
}

export function stopping(upstream: string): GatewayError {
  const reason = 'the gateway is stopping'
  return new GatewayError('UPSTREAM_REMOVED', `${upstream}: ${reason}.`, {
    upstream,
    reason,
    phase: 'unknown',
  })
}

const LAST_ANSWERS_MS = 2_000
const LOOK_MS = 20

/**
 * Ends a connection of which the server wants no more, once the requests under way have had their own answers: each is
 * told what became of it. Whatever takes too long is lost with `error`.
 */
async function retire(connection: Connection, clock: Clock, error: GatewayError): Promise<void> {
  await heldWithin(clock, () => connection.inFlight === 0, LAST_ANSWERS_MS, LOOK_MS)
  connection.destroy(error)
}

/** A refusal is told to each request by itself; a loss is told to all at once. */
export function part(connection: Connection, clock: Clock, error: GatewayError): Promise<void> {
  if (error.kind === 'auth_required' && connection.transport !== 'stdio')
    return retire(connection, clock, error)
  connection.destroy(error)
  return Promise.resolve()
}

/** The polite end says to each caller what is so; the hard one then leaves it no time. */
export function endAtOnce(supervisor: { readonly connection: Connection | null; kill(): void }): void {
  supervisor.connection?.close().catch(() => undefined)
  supervisor.kill()
}
