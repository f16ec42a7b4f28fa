import type { Bytes, ObjectSlice } from './bytes.js'
import type { GatewayError } from './errors.js'

/** `legacy` = 2024-11-05 to 2025-11-25 (`initialize`, sessions); `modern` = 2026-07-28 and later (stateless). */
export type Era = 'legacy' | 'modern'

/** Which part of the catalog a client sees: everything under public names, or one server under its own names. */
export type Scope = { readonly kind: 'all' } | { readonly kind: 'server'; readonly name: string }

/**
 * What an answer says: the raw `result` or the raw `error` member of a JSON-RPC response, untouched.
 */
export type Reply = { readonly result: Bytes } | { readonly error: Bytes }

/**
 * How an attempt ended.
 * - `answered`: the upstream gave its final answer (a result, `isError` included, or a JSON-RPC error).
 * - `never-sent`: provably not one byte of the request reached the upstream.
 * - `rejected`: the upstream says that it did not process the request.
 * - `unknown`: it was sent and no valid final answer came; it may or may not have run.
 * - `cancelled`: the caller no longer wants an answer.
 */
export type Outcome =
  | {
      readonly kind: 'answered'
      readonly reply: Reply
      /** The era of the upstream that spoke: says which shape the bytes have. */
      readonly era: Era
      readonly upstream: string
    }
  | { readonly kind: 'never-sent' | 'rejected' | 'unknown'; readonly error: GatewayError }
  | { readonly kind: 'cancelled' }

/** A question of a server to the client in the middle of a call (sampling, elicitation, roots). */
export interface Ask {
  readonly method: string
  /** Raw `params`, or null where the server sent none. */
  readonly params: Bytes | null
  /** Called exactly once with the client's answer. */
  readonly respond: (reply: Reply) => void
}

/** The identity of everybody who was not told apart. */
export const LOCAL = 'local'

/** Who asks: it decides whose instance of a server is used where not everybody shares one. */
export interface Caller {
  /** The authenticated identity of the client, or `local`. */
  readonly principal: string
  /** Stands for the client's session, where it has one. An object, so that nobody can name another's. */
  readonly session?: object
}

/** Everything about the caller that a call carries; it is never remembered from an earlier call. */
export interface CallContext extends Caller {
  readonly scope: Scope
  readonly era: Era
  /** Raw `ClientCapabilities` object of the caller; `{}` when it has none. */
  readonly capabilities: Bytes
  /** Raw `Implementation` of the caller, if it said. */
  readonly clientInfo?: Bytes
  /** Log level the caller asked for; absent = wants no log notifications. */
  readonly logLevel?: string
  /** Receives raw `params` of progress notifications; the token in them is the upstream hop's and must be replaced. */
  readonly onProgress?: (params: Bytes) => void
  /** Receives raw `params` of log notifications that belong to this call. */
  readonly onLog?: (params: Bytes) => void
  /** Live way back to the client for server questions; absent where the client cannot be asked in mid-call. */
  readonly onAsk?: (ask: Ask) => void
  /** `Mcp-Param-*` headers that came with the call, lower-case names, decoded values. */
  readonly paramHeaders?: ReadonlyMap<string, string>
}

/** One client request on its way to one upstream, in canonical shape. */
export interface Call {
  readonly method: string
  /** The client's `params` object, as sent; null when it sent none. */
  readonly params: ObjectSlice | null
  readonly context: CallContext
  /** Milliseconds; overrides the upstream's own total timeout when smaller. */
  readonly timeoutMs?: number
}
