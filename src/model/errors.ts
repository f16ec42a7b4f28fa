/** The failure kinds of the public contract (`_meta["dev.holdfast/failure"].kind`). */
export type FailureKind =
  | 'unavailable'
  | 'timeout'
  | 'outcome_unknown'
  | 'overloaded'
  | 'auth_required'
  | 'misconfigured'
  | 'denied'
  | 'not_found'
  | 'invalid'

/** `never-sent` and `rejected` attempts provably did not run; `unknown` ones may have. */
export type Phase = 'never-sent' | 'rejected' | 'unknown'

/** Who has to act. */
export type Blame = 'client' | 'gateway' | 'upstream'

interface ErrorRow {
  readonly kind: FailureKind
  /** JSON-RPC code on methods other than `tools/call`; the spec reserves -32768..-32000. */
  readonly rpcCode: number
  readonly blame: Blame
  readonly meaning: string
}

/** Every error code of the gateway: the one table behind the wire mapping and docs/errors.md. */
export const ERRORS = {
  UPSTREAM_UNAVAILABLE: {
    kind: 'unavailable',
    rpcCode: 50301,
    blame: 'upstream',
    meaning: 'The server that owns the name cannot be reached now; the request was not sent.',
  },
  UPSTREAM_REMOVED: {
    kind: 'unavailable',
    rpcCode: 50301,
    blame: 'gateway',
    meaning: 'The server was removed from the configuration, or the gateway is stopping.',
  },
  CALL_TIMEOUT: {
    kind: 'timeout',
    rpcCode: 50401,
    blame: 'upstream',
    meaning: 'The server gave no answer within its time; it was told to stop, but the call may have run.',
  },
  OUTCOME_UNKNOWN: {
    kind: 'outcome_unknown',
    rpcCode: 50901,
    blame: 'upstream',
    meaning: 'The connection was lost after the request was sent; it may or may not have run.',
  },
  PROTOCOL_VIOLATION: {
    kind: 'outcome_unknown',
    rpcCode: 50901,
    blame: 'upstream',
    meaning: 'The server answered with something that is not a valid MCP message; the call may have run.',
  },
  OVERLOADED: {
    kind: 'overloaded',
    rpcCode: 42901,
    blame: 'gateway',
    meaning: 'A limit of the gateway or of the server was reached; the request was not sent.',
  },
  SIGN_IN_REQUIRED: {
    kind: 'auth_required',
    rpcCode: 40101,
    blame: 'client',
    meaning: 'The server wants a sign-in, or refused the configured credentials.',
  },
  FORBIDDEN: {
    kind: 'denied',
    rpcCode: 40301,
    blame: 'client',
    meaning: 'The server knows the configured credentials and refuses this request to them.',
  },
  MISCONFIGURED: {
    kind: 'misconfigured',
    rpcCode: 50301,
    blame: 'client',
    meaning: 'The entry of the server in the configuration cannot work as it is.',
  },
  DENIED: {
    kind: 'denied',
    rpcCode: 40301,
    blame: 'client',
    meaning: 'A rule of the configuration forbids it.',
  },
  NOT_FOUND: {
    kind: 'not_found',
    rpcCode: -32602,
    blame: 'client',
    meaning: 'No configured server offers a tool, prompt or resource of that name.',
  },
  METHOD_NOT_FOUND: {
    kind: 'not_found',
    rpcCode: -32601,
    blame: 'client',
    meaning: 'The method does not exist in the protocol version that the client speaks.',
  },
  INVALID_REQUEST: {
    kind: 'invalid',
    rpcCode: -32600,
    blame: 'client',
    meaning: 'The message is JSON but not a valid JSON-RPC request.',
  },
  INVALID_PARAMS: {
    kind: 'invalid',
    rpcCode: -32602,
    blame: 'client',
    meaning: 'The parameters of the request do not have the form that the method wants.',
  },
  PARSE_ERROR: {
    kind: 'invalid',
    rpcCode: -32700,
    blame: 'client',
    meaning: 'The message is not JSON, or passes a size, depth or element limit.',
  },
  INTERNAL: {
    kind: 'unavailable',
    rpcCode: -32603,
    blame: 'gateway',
    meaning: 'A fault of the gateway itself.',
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorDetails {
  /** Default `never-sent`. */
  readonly phase?: Phase
  readonly upstream?: string
  /** The cause in words, without the upstream's name: "exited with code 1". */
  readonly reason?: string
  /** Wall-clock ms: since when it is so. */
  readonly since?: number
  readonly attempts?: number
  readonly elapsedMs?: number
  readonly retryAfterMs?: number
  /** The fault is our own machine's: no descriptors, no processes, a stalled loop. It says nothing about the server. */
  readonly local?: boolean
  /** The program ended by itself with code 0: it had enough, nothing broke. */
  readonly quiet?: boolean
  /** The whole connection ended with it: a failure that is counted once, not for each request that was under way. */
  readonly connectionLost?: boolean
  /** The server does not know the session (any more); a new one cures it. */
  readonly sessionLost?: boolean
  /** Further machine-readable facts for `data`. */
  readonly data?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

const BRAND = Symbol.for('dev.holdfast/error')

/** The one error family of the gateway. The message is a sentence that a person can act on. */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly kind: FailureKind
  readonly blame: Blame
  readonly rpcCode: number
  readonly phase: Phase
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'GatewayError'
    const row: ErrorRow = ERRORS[code]
    this.code = code
    this.kind = row.kind
    this.blame = row.blame
    this.rpcCode = row.rpcCode
    this.phase = details.phase ?? 'never-sent'
    this.details = details
    Object.defineProperty(this, BRAND, { value: true })
  }

  get upstream(): string | undefined {
    return this.details.upstream
  }

  /** The same error with other details. */
  with(details: Partial<ErrorDetails>): GatewayError {
    return new GatewayError(this.code, this.message, { ...this.details, ...details })
  }

  /** The same error, naming also what went wrong before it. */
  after(first: GatewayError): GatewayError {
    const cause = first.details.reason ?? first.message
    return new GatewayError(this.code, `${this.message} Before that: ${cause}.`, this.details)
  }

  /** The public failure record, as it stands in `_meta["dev.holdfast/failure"]` and in `error.data`. */
  toFailure(): Record<string, unknown> {
    const { upstream, reason, since, attempts, elapsedMs, retryAfterMs, data } = this.details
    return {
      kind: this.kind,
      ...(upstream === undefined ? {} : { upstream }),
      reason: reason ?? this.message,
      ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
      ...(attempts === undefined ? {} : { attempts }),
      ...(elapsedMs === undefined ? {} : { elapsedMs: Math.round(elapsedMs) }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.round(retryAfterMs) }),
      ...data,
    }
  }
}

/** True for a GatewayError of any copy of the package in this process. */
export function isGatewayError(value: unknown): value is GatewayError {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true
}

/** What was thrown, in its own words. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** The same with the place where it was thrown, for a fault of our own. */
export function stackOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
}
