import {
  type ErrorCode,
  GatewayError,
  isGatewayError,
  LIMITS,
  messageOf,
  type UpstreamView,
} from '../model/index.js'

/** Anything that was thrown, as an error of the one family. */
export function asGatewayError(thrown: unknown, upstream: string): GatewayError {
  if (isGatewayError(thrown)) return thrown
  const reason = messageOf(thrown)
  return new GatewayError('UPSTREAM_UNAVAILABLE', `${upstream}: ${reason}`, {
    upstream,
    reason,
    cause: thrown,
  })
}

/** The cause in words, without the upstream's name. */
export function reasonOf(error: GatewayError): string {
  return error.details.reason ?? error.message
}

/**
 * Why a call to this upstream cannot be served now, with since when and when the next try is.
 * @param now monotonic ms
 */
export function unavailable(view: UpstreamView, now: number): GatewayError {
  const reason = view.reason ?? 'not ready'
  const { nextAttemptDue } = view
  const retryAfterMs = nextAttemptDue === null ? undefined : Math.max(0, nextAttemptDue - now)
  const attempts = view.attempts > 1 ? ` (${view.attempts} tries since ${clockTime(view.since)})` : ''
  const next = retryAfterMs === undefined ? '' : `; next try in ${seconds(retryAfterMs)}`
  const message = `${view.name} is ${stateInWords(view)}: ${reason}${attempts}${next}.`
  return new GatewayError(codeOf(view), message, {
    upstream: view.name,
    reason,
    since: view.since,
    attempts: view.attempts,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}

/** Nothing was sent, because the server, or its queue, has its hands full. */
export function busy(upstream: string, reason: string, queued: number): GatewayError {
  const message = `${upstream} is overloaded: ${reason}${queued > 0 ? `, ${queued} more wait` : ''}. The request was not sent; try again later.`
  return new GatewayError('OVERLOADED', message, { upstream, reason, retryAfterMs: LIMITS.queueMs })
}

/** Nothing was sent, because the server asked to be left alone. */
export function throttled(upstream: string, leftMs: number): GatewayError {
  const reason = `it asked to be left alone for another ${seconds(leftMs)}`
  const message = `${upstream} is overloaded: ${reason}. The request was not sent; try again then.`
  return new GatewayError('OVERLOADED', message, { upstream, reason, retryAfterMs: leftMs })
}

function codeOf(view: UpstreamView): ErrorCode {
  if (view.state === 'misconfigured') return 'MISCONFIGURED'
  if (view.state === 'auth_required') return 'SIGN_IN_REQUIRED'
  return 'UPSTREAM_UNAVAILABLE'
}

function stateInWords(view: UpstreamView): string {
  switch (view.state) {
    case 'misconfigured':
      return 'misconfigured'
    case 'auth_required':
      return 'waiting for a sign-in'
    case 'disabled':
      return 'disabled'
    default:
      return 'unavailable'
  }
}

export function seconds(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms / 100) / 10} s` : `${Math.round(ms / 1_000)} s`
}

function clockTime(wallTime: number): string {
  return new Date(wallTime).toISOString().slice(11, 19)
}

export function removed(upstream: string): GatewayError {
  return new GatewayError('UPSTREAM_REMOVED', `${upstream} was removed from the configuration.`, {
    upstream,
    reason: 'removed from the configuration',
  })
}
