/**
 * What a transport offers to the connection above it: whole JSON-RPC messages as bytes, and where they came from.
 * It knows pipes, HTTP and SSE; it knows no method and no era.
 */
import type { Bytes, Phase } from '../model/index.js'
import type { HttpFault } from '../runtime/ports.js'

/** Why a message, a stream or a whole transport failed, in words and in facts. */
export interface TransportFault {
  readonly phase: Phase
  readonly reason:
    | HttpFault['reason']
    | 'eof'
    | 'http-status'
    | 'session-lost'
    | 'unauthorized'
    | 'not-mcp'
    | 'garbled'
    | 'too-large'
    | 'violation'
    | 'stuck'
    | 'exit'
    | 'spawn'
    | 'stdin'
  /** A sentence fragment without the server's name: "HTTP 500 from POST /mcp", "exited with code 1: boom". */
  readonly message: string
  /** HTTP status, when there was one. */
  readonly status?: number
  /** Response headers that decide something: content-type, retry-after, date, www-authenticate, allow. */
  readonly headers?: Readonly<Record<string, string>>
  /** First bytes of the body (at most 64 KiB), for the era probe and for the excerpt in messages. */
  readonly body?: Bytes
  /** This machine had no room for it: no descriptors, no memory. It says nothing about the server. */
  readonly local?: boolean
  /** The whole transport ends with it, which `closed` tells too. */
  readonly fatal?: boolean
  readonly exit?: { readonly code: number | null; readonly signal: string | null }
  readonly cause?: unknown
}

export interface OutgoingMessage {
  /** One JSON-RPC message. Raw line breaks between tokens are made harmless by the transport. */
  readonly bytes: Bytes
  /** The id of a request; undefined for notifications and answers. */
  readonly id?: number
  /** HTTP only: further headers (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`), values already encoded. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface TransportEvents {
  /**
   * One message from the server.
   * @param source the id of the request on whose answer stream it came; null on a channel shared by all.
   */
  message(bytes: Bytes, source: number | null): void
  /**
   * Nothing more will come on the answer stream of request `id` (per-request transports only), or the message could
   * not be sent. `fault` is null after a proper end.
   */
  ended(id: number, fault: TransportFault | null): void
  /** The whole transport is gone: the process exited, the SSE stream was lost. Comes once; not after close/destroy. */
  closed(fault: TransportFault): void
  /**
   * Bytes that are no message at all.
   * @param sort `garbage` may be a banner on stdout; a `violation` never should have come
   */
  noise(what: string, sort: 'garbage' | 'violation'): void
  stderr(line: string): void
  /** HTTP: whether the answer to that request is still to come. Without it, every answer stream is read to its end. */
  awaits?(id: number): boolean
}

export interface Transport {
  readonly kind: 'stdio' | 'http' | 'sse'
  readonly pid: number | null
  /** Ready to send. Rejects with a TransportFault. Streamable HTTP: immediate, nothing is dialled. */
  start(signal: AbortSignal): Promise<void>
  send(message: OutgoingMessage): void
  /** HTTP: drops the exchange of that request without `ended`. Elsewhere: nothing. */
  abort(id: number): void
  /** Streamable HTTP, legacy: the version header of all later messages; `null` = send none. */
  useProtocolVersion(version: string | null): void
  /** Streamable HTTP, legacy: opens the GET stream for notifications; a refusal (405) is fine. */
  openNotificationStream(): void
  /** Gives it up for a reason that it did not find itself: what was never sent is told as such, then `closed`. */
  fail(fault: TransportFault): void
  /** The polite end: stop ladder for a child, DELETE for a session. Idempotent. */
  close(): Promise<void>
  /** The end at once: kill the group, drop sockets. Idempotent. */
  destroy(): void
}
