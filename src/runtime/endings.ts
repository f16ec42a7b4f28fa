import { GatewayError } from '../model/index.js'
import { reasonOf } from './failures.js'

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
