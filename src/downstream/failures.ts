import type { Full } from '../core/session/index.js'
import {
  type Bytes,
  type FailureKind,
  GatewayError,
  isGatewayError,
  LIMITS,
  messageOf,
} from '../model/index.js'
import { json } from '../wire/index.js'

/** What a face sends at the end of a request: raw `result` or raw `error`, and the HTTP status where it matters. */
export type Final =
  | { readonly result: Bytes; readonly status?: number }
  | { readonly error: Bytes; readonly status?: number }

/** A model can act on these, so a tool call ends in a result that it reads. */
const READABLE: ReadonlySet<FailureKind> = new Set<FailureKind>([
  'unavailable',
  'timeout',
  'outcome_unknown',
  'overloaded',
  'auth_required',
  'misconfigured',
  'denied',
])

/** A failure of the gateway or of a server's connection, in the form that the method wants. */
export function encodeFailure(
  method: string,
  error: GatewayError,
  extra: Readonly<Record<string, unknown>> = {},
): Final {
  if (method === 'tools/call' && READABLE.has(error.kind)) return { result: toolFailure(error, extra) }
  return { error: rpcError(error.rpcCode, error.message, error.toFailure()) }
}

function toolFailure(error: GatewayError, extra: Readonly<Record<string, unknown>>): Bytes {
  return json({
    content: [{ type: 'text', text: error.message }],
    isError: true,
    _meta: { 'dev.holdfast/failure': error.toFailure() },
    ...extra,
  })
}

export function rpcError(code: number, message: string, data?: unknown): Bytes {
  return json(data === undefined ? { code, message } : { code, message, data })
}

/** A tool's failure in words, for what a server reported in a form that this client cannot read. */
export function toolErrorText(text: string): Bytes {
  return json({ content: [{ type: 'text', text }], isError: true })
}

export function tooMany(): GatewayError {
  const message = `More than ${LIMITS.inFlightPerClient} requests of this client are in flight; wait for some to end.`
  return new GatewayError('OVERLOADED', message, { retryAfterMs: 1_000 })
}

const SESSION_RETRY_MS = 5_000

/** For how long a client should leave a gateway alone that is about to end. */
export const STOPPING_RETRY_MS = 5_000

export function stopping(): GatewayError {
  const reason = 'the gateway is stopping'
  const details = { reason, retryAfterMs: STOPPING_RETRY_MS }
  return new GatewayError('OVERLOADED', `Nothing was sent: ${reason}. Try again in a moment.`, details)
}

/** @param what is refused, in the plural */
export function overloaded(what: string, retryAfterMs: number): GatewayError {
  const reason = 'the gateway is overloaded'
  const message = `Nothing was sent: ${reason} and takes no ${what} for the moment.`
  return new GatewayError('OVERLOADED', message, { reason, retryAfterMs })
}

/** @param who has as many sessions as may be, all of them in use */
export function fullHouse(who: Full): GatewayError {
  const message =
    who === 'all'
      ? `There are ${LIMITS.sessions} sessions in use; try again later.`
      : `This identity has ${LIMITS.sessionsPerPrincipal} sessions in use; end one, or try again later.`
  return new GatewayError('OVERLOADED', message, { retryAfterMs: SESSION_RETRY_MS })
}

/** Two requests of one id could not be told apart when they are answered or cancelled. */
export function sameId(): GatewayError {
  return new GatewayError('INVALID_REQUEST', 'A request with this id is still in flight.')
}

export function asError(thrown: unknown): GatewayError {
  if (isGatewayError(thrown)) return thrown
  const message = messageOf(thrown)
  return new GatewayError('INTERNAL', `A fault of the gateway: ${message}`, { cause: thrown })
}
