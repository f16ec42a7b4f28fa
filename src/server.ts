import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Door, OwedAnswers } from './connections.js'
import { GatewayError, LIMITS, type Scope } from './model/index.js'

export interface Routes {
  /** Refuses a foreign Host or Origin by answering; true when the request may go on. */
  guard(req: IncomingMessage, res: ServerResponse): boolean
  mcp(req: IncomingMessage, res: ServerResponse, scope: Scope): void
  knowsServer(name: string): boolean
  /** False when the path is not its own. */
  control(req: IncomingMessage, res: ServerResponse, path: string): boolean
}

const ALL: Scope = { kind: 'all' }

/** Sends each request to the room that owns its path. */
export function createRequestHandler(routes: Routes): (req: IncomingMessage, res: ServerResponse) => void {
  return (req, res) => {
    if (!routes.guard(req, res)) return
    const url = req.url ?? '/'
    if (url === '/mcp') return routes.mcp(req, res, ALL)
    const path = pathOf(url)
    if (path === '/mcp') return routes.mcp(req, res, ALL)
    if (path.startsWith('/mcp/s/')) return serveOne(routes, req, res, path.slice('/mcp/s/'.length))
    if (routes.control(req, res, path)) return
    answer(
      res,
      404,
      `Nothing is served at ${path}. MCP clients connect to /mcp, or to /mcp/s/NAME for one server.`,
    )
  }
}

function isMcp(path: string): boolean {
  return path === '/mcp' || path.startsWith('/mcp/')
}

function pathOf(url: string): string {
  const end = url.search(/[?#]/)
  return end < 0 ? url : url.slice(0, end)
}

function serveOne(routes: Routes, req: IncomingMessage, res: ServerResponse, segment: string): void {
  let name = segment
  try {
    name = decodeURIComponent(segment)
  } catch {
    // A broken escape cannot name a server; it is reported as it came.
  }
  if (!routes.knowsServer(name))
    return answer(res, 404, `No server named ${JSON.stringify(name)} is configured.`)
  routes.mcp(req, res, { kind: 'server', name })
}

function refuse(res: ServerResponse, error: GatewayError): void {
  res.setHeader('retry-after', String(Math.ceil((error.details.retryAfterMs ?? 1_000) / 1_000)))
  send(res, 503, {
    jsonrpc: '2.0',
    id: null,
    error: { code: error.rpcCode, message: error.message, data: error.toFailure() },
  })
}

function answer(res: ServerResponse, status: number, error: string): void {
  send(res, status, { error })
}

function send(res: ServerResponse, status: number, content: unknown): void {
  const body = `${JSON.stringify(content)}\n`
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  res.end(body)
}

export interface Listener {
  readonly url: string
  readonly port: number
  /** Connections that are open now. */
  readonly connections: number
  /** While short of something, idle connections are not kept for long. */
  shortenIdle(short: boolean): void
  /** No new connections; the others end with the answers that they owe. Resolves when the last one is gone. */
  close(): Promise<void>
  /** Closes whatever is still open. */
  destroy(): void
}

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Default LIMITS.connections. */
  readonly maxConnections?: number
  /** Default LIMITS.headersMs. */
  readonly headersMs?: number
  /** Default LIMITS.requestMs. */
  readonly requestMs?: number
  /** In [0, 1): spreads the time after which refused clients come back. */
  readonly random?: () => number
}

/** How often connections are looked at that take too long to send a request. */
const CHECK_MS = 1_000
const SHORT_IDLE_MS = 5_000
/** Connections that the kernel may hold for us while we are busy. */
const BACKLOG = 4_096

/**
 * Opens the listening socket.
 * @param faulted told in words when connections cannot be accepted
 * @throws GatewayError MISCONFIGURED when the address is taken or not ours
 */
export async function openListener(
  handler: (req: IncomingMessage, res: ServerResponse) => void,
  options: ListenOptions,
  faulted: (message: string) => void = () => undefined,
): Promise<Listener> {
  const door = new Door(options.maxConnections ?? LIMITS.connections, options.random ?? Math.random)
  const headersMs = options.headersMs ?? LIMITS.headersMs
  const server = createServer({
    maxHeaderSize: LIMITS.headerBytes,
    headersTimeout: headersMs,
    requestTimeout: Math.max(headersMs, options.requestMs ?? LIMITS.requestMs),
    connectionsCheckingInterval: Math.min(CHECK_MS, headersMs / 2),
    keepAliveTimeout: LIMITS.connectionIdleMs,
    noDelay: true,
  })
  // Long calls and event streams are silent for as long as they like; who does not read is the faces' affair.
  server.timeout = 0
  server.on('connection', socket => door.enter(socket))
  const owed = new OwedAnswers(server, door, (req, res) => {
    const refusal = door.refuses(req, res, () => isMcp(pathOf(req.url ?? '/')))
    if (refusal) refuse(res, refusal)
    else handler(req, res)
  })
  await listen(server, options)
  // Nobody hearing it would end the process: there may be no descriptors left at this moment.
  server.on('error', cause => faulted(`cannot accept connections: ${cause.message}`))
  const { port } = server.address() as AddressInfo
  const shown = options.host.includes(':') ? `[${options.host}]` : options.host
  return {
    url: `http://${shown}:${port}`,
    port,
    get connections() {
      return door.connections
    },
    shortenIdle: short => {
      server.keepAliveTimeout = short ? SHORT_IDLE_MS : LIMITS.connectionIdleMs
    },
    close: () => owed.close(),
    destroy: () => server.closeAllConnections(),
  }
}

function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port))
    server.once('error', refused)
    server.listen({ port, host, backlog: BACKLOG }, () => {
      server.off('error', refused)
      resolve()
    })
  })
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): GatewayError {
  const where = `${host}:${port}`
  const fix =
    cause.code === 'EADDRINUSE'
      ? `port ${port} is in use on ${host}: stop what listens there, or choose another with --port`
      : cause.code === 'EADDRNOTAVAIL'
        ? `${host} is not an address of this machine: choose another with --host`
        : cause.code === 'EACCES'
          ? `this user may not listen on ${where}: choose a port above 1023 with --port`
          : `cannot listen on ${where}: ${cause.message}`
  return new GatewayError('MISCONFIGURED', fix, { cause, reason: cause.code ?? cause.message })
}
