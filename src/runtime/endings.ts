import { GatewayError } from '../model/index.js'
import { reasonOf } from './failures.js'

/** Of a program that does not answer its checks. */
export function hung(error: GatewayError, what: string): GatewayError {
  const reason = `${what} (${reasonOf(error)})`
  const upstream = error.details.upstream ?? ''
  const message = `${upstream}: ${reason}. The request may or may not have run; check before repeating it.`
  return new GatewayError('OUTCOME_UNKNOWN', message, { upstream, reason, phase: 'unknown' })
}

/** What is under way when the gateway ends. */
export function stopping(upstream: string): GatewayError {
  const reason = 'the gateway is stopping'
  return new GatewayError('UPSTREAM_REMOVED', `${upstream}: ${reason}.`, {
    upstream,
    reason,
    phase: 'unknown',
  })
}
