import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Bytes } from '../model/index.js'
import type { GatewayStatus } from './status.js'

/** `GET /api/v1/tools`. */
export interface ToolListing {
  /** Every configured server, in order. */
  readonly servers: readonly string[]
  /** Raw JSON of each tool under its public name, with its owner. */
  readonly tools: readonly { readonly server: string; readonly tool: Bytes }[]
  readonly unavailable: readonly { readonly upstream: string; readonly reason: string }[]
}

export interface ControlSource {
  status(): GatewayStatus
  /** Last lines of a server's stderr, oldest first; null for an unknown name. */
  logs(name: string): readonly string[] | null
  tools(): Promise<ToolListing>
  readonly draining: boolean
}

/** Serves the read-only control routes; false when the path is none of them. */
export function serveControl(
  source: ControlSource,
  req: IncomingMessage,
  res: ServerResponse,
  path: string,
): boolean {
  const answer = routeFor(source, path)
  if (!answer) return false
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    res.setHeader('allow', 'GET, HEAD')
    sendJson(res, 405, { error: `${path} is read with GET.` })
    return true
  }
  Promise.resolve()
    .then(answer)
    .then(
      ({ status, body }) =>
        typeof body === 'string' ? sendRaw(res, status, body) : sendJson(res, status, body),
      (thrown: unknown) =>
        sendJson(res, 500, { error: thrown instanceof Error ? thrown.message : String(thrown) }),
    )
  return true
}

interface Answer {
  readonly status: number
  /** A string is JSON already. */
  readonly body: unknown
}

function routeFor(source: ControlSource, path: string): (() => Answer | Promise<Answer>) | null {
  switch (path) {
    case '/healthz':
      return () => ({ status: 200, body: { ok: true } })
    case '/readyz':
      return () => ({ status: source.draining ? 503 : 200, body: { ready: !source.draining } })
    case '/api/v1/status':
      return () => ({ status: 200, body: source.status() })
    case '/api/v1/upstreams':
      return () => ({ status: 200, body: { upstreams: source.status().upstreams } })
    case '/api/v1/tools':
      return async () => ({ status: 200, body: encodeTools(await source.tools()) })
    default:
      return upstreamRoute(source, path)
  }
}

function upstreamRoute(source: ControlSource, path: string): (() => Answer) | null {
  const match = /^\/api\/v1\/upstreams\/([^/]+)(\/logs)?$/.exec(path)
  if (!match) return null
  const name = decode(match[1] ?? '')
  return () => {
    const found = source.status().upstreams.find(upstream => upstream.name === name)
    const lines = source.logs(name)
    if (!found || !lines)
      return { status: 404, body: { error: `No server named ${JSON.stringify(name)} is configured.` } }
    return { status: 200, body: match[2] ? { lines } : found }
  }
}

/** The tools are written as bytes, so that numbers beyond 2^53 survive here too. */
function encodeTools({ servers, tools, unavailable }: ToolListing): string {
  const rows = tools.map(({ server, tool }) => `{"server":${JSON.stringify(server)},"tool":${text(tool)}}`)
  const rest = JSON.stringify({ servers, unavailable }).slice(1)
  return `{"tools":[${rows.join(',')}],${rest}`
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

function text(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}

export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  sendRaw(res, status, `${JSON.stringify(body)}\n`)
}

function sendRaw(res: ServerResponse, status: number, body: string): void {
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  res.end(body)
}
