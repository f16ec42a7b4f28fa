import { type ErrorCode, GatewayError, LIMITS } from '../model/index.js'
import type { TransportFault } from './transport.js'

/** A transport's fault as an error of the one family: the sentence names the server, the reason does not. */
export function errorFrom(upstream: string, fault: TransportFault, hasCredentials: boolean): GatewayError {
  const reason = reasonFrom(fault, hasCredentials)
  const retryAfterMs = retryAfter(fault)
  return new GatewayError(codeFrom(fault), sentence(upstream, fault, reason), {
    phase: fault.phase,
    upstream,
    reason,
    cause: fault,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(fault.status === 403 ? { forbidden: true } : {}),
    ...(fault.reason === 'session-lost' ? { sessionLost: true } : {}),
  })
}

function codeFrom(fault: TransportFault): ErrorCode {
  if (fault.reason === 'unauthorized' || fault.status === 403) return 'SIGN_IN_REQUIRED'
  if (fault.reason === 'spawn' && fault.phase === 'never-sent') return 'MISCONFIGURED'
  if (fault.status === 429) return 'OVERLOADED'
  if (fault.reason === 'not-mcp' && fault.phase === 'unknown') return 'PROTOCOL_VIOLATION'
  return fault.phase === 'unknown' ? 'OUTCOME_UNKNOWN' : 'UPSTREAM_UNAVAILABLE'
}

function reasonFrom(fault: TransportFault, hasCredentials: boolean): string {
  if (fault.reason !== 'unauthorized') return fault.message
  return hasCredentials
    ? `the configured Authorization was refused (${fault.message})`
    : `it wants a sign-in (${fault.message}); add an Authorization header to its entry`
}

function sentence(upstream: string, fault: TransportFault, reason: string): string {
  if (fault.phase !== 'unknown') return `${upstream}: ${reason}. The request was not processed.`
  return `${upstream}: ${reason}. The request may or may not have run; check before repeating it.`
}

const MAX_RETRY_AFTER_MS = 5 * 60_000

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3), clamped; nonsense is as good as nothing. */
function retryAfter(fault: TransportFault): number | undefined {
  const text = fault.headers?.['retry-after']
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now()
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, MAX_RETRY_AFTER_MS, LIMITS.timerMs) : undefined
}

/** The transport's fault behind an error, where there is one. */
export function faultBehind(error: GatewayError): TransportFault | null {
  const { cause } = error
  return typeof cause === 'object' && cause !== null && 'phase' in cause ? (cause as TransportFault) : null
}

/** The server broke the protocol in answer to a request. */
export function violation(upstream: string, reason: string): GatewayError {
  const message = `${upstream}: ${reason}. The request may have run; check before repeating it.`
  return new GatewayError('PROTOCOL_VIOLATION', message, { phase: 'unknown', upstream, reason })
}
