import { type ErrorCode, GatewayError } from '../model/index.js'
import { retryAfterMs } from './retry-after.js'
import type { TransportFault } from './transport.js'

/** What an error needs to know besides the fault. */
export interface Blamed {
  readonly upstream: string
  /** An Authorization is configured. */
  readonly hasCredentials: boolean
  /** Wall-clock ms. */
  readonly wallTime: number
}

/** A transport's fault as an error of the one family: the sentence names the server, the reason does not. */
export function errorFrom(blamed: Blamed, fault: TransportFault): GatewayError {
  const reason = reasonFrom(fault, blamed.hasCredentials)
  const retryAfter = retryAfterMs(fault.headers, blamed.wallTime)
  return new GatewayError(codeFrom(fault), sentence(blamed.upstream, fault, reason), {
    phase: fault.phase,
    upstream: blamed.upstream,
    reason,
    cause: fault,
    ...(fault.local ? { local: true } : {}),
    ...(fault.fatal ? { connectionLost: true } : {}),
    ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter }),
    ...(fault.exit?.code === 0 ? { quiet: true } : {}),
    ...(fault.reason === 'session-lost' ? { sessionLost: true } : {}),
  })
}

function codeFrom(fault: TransportFault): ErrorCode {
  if (fault.reason === 'unauthorized') return 'SIGN_IN_REQUIRED'
  if (fault.status === 403) return 'FORBIDDEN'
  // A certificate that does not fit will not fit the next time either.
  if (fault.reason === 'spawn' || fault.reason === 'tls') {
    if (fault.phase === 'never-sent' && !fault.local) return 'MISCONFIGURED'
  }
  if (fault.status === 429) return 'OVERLOADED'
  if (isViolation(fault) && fault.phase === 'unknown') return 'PROTOCOL_VIOLATION'
  return fault.phase === 'unknown' ? 'OUTCOME_UNKNOWN' : 'UPSTREAM_UNAVAILABLE'
}

const VIOLATIONS = new Set<TransportFault['reason']>(['not-mcp', 'garbled', 'too-large', 'violation'])

/** The server answered, and broke the protocol with it. */
export function isViolation({ reason }: TransportFault): boolean {
  return VIOLATIONS.has(reason)
}

function reasonFrom(fault: TransportFault, hasCredentials: boolean): string {
  const challenge = challengeIn(fault)
  const message = challenge === '' ? fault.message : `${fault.message}: ${challenge}`
  if (fault.reason !== 'unauthorized') return message
  return hasCredentials
    ? `the configured Authorization was refused (${message})`
    : `it wants a sign-in (${message}); add an Authorization header to its entry`
}

const ERROR = /[\s,]error=(?:"([^"\x00-\x1f]{0,200})"|([\w.:-]{1,200}))/
const SCOPE = /[\s,]scope=(?:"([^"\x00-\x1f]{0,200})"|([\w.:-]{1,200}))/

/** What a refusal says about itself (RFC 6750, 3): the error, and the scope that would do. */
function challengeIn({ status, headers }: TransportFault): string {
  const challenge = headers?.['www-authenticate']
  if (challenge === undefined || (status !== 401 && status !== 403)) return ''
  const [, error, bareError] = ERROR.exec(challenge) ?? []
  const [, scope, bareScope] = SCOPE.exec(challenge) ?? []
  const needed = scope ?? bareScope
  return [error ?? bareError, needed && `needs the scope ${needed}`].filter(Boolean).join(', ')
}

function sentence(upstream: string, fault: TransportFault, reason: string): string {
  if (fault.phase !== 'unknown') return `${upstream}: ${reason}. The request was not processed.`
  return `${upstream}: ${reason}. The request may or may not have run; check before repeating it.`
}

/**
 * The error of a start, where it says more than that of a call: a 403 to the handshake asks for other credentials, and
 * a 404 to a server that was never reached before is a wrong path.
 */
export function refusalToOpen(error: GatewayError, everOpened: boolean): GatewayError {
  const { status } = faultBehind(error) ?? {}
  const { upstream = '' } = error
  if (status === 403) return new GatewayError('SIGN_IN_REQUIRED', error.message, error.details)
  if (status !== 404 || everOpened) return error
  const reason = `${error.details.reason}: nothing answers at this path; check the path of "url"`
  return new GatewayError('MISCONFIGURED', `${upstream}: ${reason}.`, { ...error.details, reason })
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
