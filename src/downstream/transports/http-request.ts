import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Bytes, GatewayError } from '../../model/index.js'
import { errorMessage } from '../../wire/index.js'
import { rpcError } from '../failures.js'
import type { InboundHeaders } from '../header-check.js'

/** What the client takes. */
export interface Accepts {
  readonly json: boolean
  readonly stream: boolean
}

export const EVENT_STREAM = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const

const BOTH: Accepts = { json: true, stream: true }

export function acceptsOf(req: IncomingMessage): Accepts {
  const { accept } = req.headers
  if (accept === undefined || accept === 'application/json, text/event-stream') return BOTH
  const types = accept.split(',').map(part => part.split(';')[0]?.trim().toLowerCase())
  const any = types.includes('*/*')
  return {
    json: any || types.includes('application/json') || types.includes('application/*'),
    stream: any || types.includes('text/event-stream') || types.includes('text/*'),
  }
}

export function isJson(req: IncomingMessage): boolean {
  const type = req.headers['content-type']
  return type === 'application/json' || /^application\/json\s*(;|$)/i.test(type ?? '')
}

export function header(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export function inboundHeaders(req: IncomingMessage): InboundHeaders {
  return {
    version: header(req, 'mcp-protocol-version'),
    method: header(req, 'mcp-method'),
    name: header(req, 'mcp-name'),
    param: suffix => header(req, `mcp-param-${suffix}`),
  }
}

export const INVALID_REQUEST = -32600

export interface Refusal {
  readonly status: number
  readonly code: number
  readonly message: string
  /** Raw id of the request, where one could be read. */
  readonly id?: Bytes | null
  readonly headers?: Readonly<Record<string, string>>
  readonly data?: unknown
}

/** Ends a request with an HTTP status and a JSON-RPC error that says why. */
export function refuse(res: ServerResponse, refusal: Refusal): void {
  const { status, code, message, id = null, headers = {}, data } = refusal
  const body = errorMessage(id, rpcError(code, message, data))
  res.writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': body.length })
  res.end(body)
}

/** Refuses what the gateway cannot do now, with the time after which it may. */
export function refuseFor(res: ServerResponse, error: GatewayError, id: Bytes | null): void {
  const { rpcCode: code, message, details } = error
  const headers = { 'retry-after': String(Math.ceil((details.retryAfterMs ?? 0) / 1_000)) }
  refuse(res, { status: 503, code, message, id, headers, data: error.toFailure() })
}

export function wrongVerb(message: string): Refusal {
  return { status: 405, code: INVALID_REQUEST, message, headers: { allow: 'POST' } }
}
