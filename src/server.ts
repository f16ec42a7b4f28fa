import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { GatewayError, type Scope } from './model/index.js'

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

function answer(res: ServerResponse, status: number, error: string): void {
  const body = `${JSON.stringify({ error })}\n`
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  res.end(body)
}

export interface Listener {
  readonly url: string
  readonly port: number
  /** No new connections; the others end with the answers that they owe. Resolves when the last one is gone. */
  close(): Promise<void>
  /** Closes whatever is still open. */
  destroy(): void
}

/**
 * Opens the listening socket.
 * @param faulted told in words when connections cannot be accepted
 * @throws GatewayError MISCONFIGURED when the address is taken or not ours
 */
export async function openListener(
  handler: (req: IncomingMessage, res: ServerResponse) => void,
  address: { readonly host: string; readonly port: number },
  faulted: (message: string) => void,
): Promise<Listener> {
  const server = createServer({ maxHeaderSize: 16 * 1024, keepAliveTimeout: 75_000, noDelay: true })
  // Event streams and long calls live longer than any request limit; slow headers do not.
  server.requestTimeout = 0
  server.headersTimeout = 20_000
  const connections = new Connections(server, handler)
  await listen(server, address)
  // Nobody hearing it would end the process: there may be no descriptors left at this moment.
  server.on('error', cause => faulted(`cannot accept connections: ${cause.message}`))
  const { port } = server.address() as AddressInfo
  const shown = address.host.includes(':') ? `[${address.host}]` : address.host
  return {
    url: `http://${shown}:${port}`,
    port,
    close: () => connections.close(),
    destroy: () => server.closeAllConnections(),
  }
}

/** Knows which connections owe an answer, so that the end of the server cuts none off. */
class Connections {
  readonly #sockets = new Set<Socket>()
  readonly #answers = new Map<ServerResponse, Socket>()
  #closing = false

  constructor(
    private readonly server: Server,
    handler: (req: IncomingMessage, res: ServerResponse) => void,
  ) {
    server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on('request', (req, res) => {
      this.#track(req, res)
      handler(req, res)
    })
    // Node takes an answer for done that was handed over and has not left yet, and would cut it off.
    server.closeIdleConnections = () => undefined
  }

  /** No new connections, and none is kept beyond the answers that it owes. Resolves when the last one is gone. */
  close(): Promise<void> {
    this.#closing = true
    const busy = new Set(this.#answers.values())
    for (const res of this.#answers.keys()) announceEnd(res)
    for (const socket of this.#sockets) if (!busy.has(socket)) socket.destroySoon()
    return new Promise(resolve => this.server.close(() => resolve()))
  }

  #track(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    this.#answers.set(res, socket)
    if (this.#closing) announceEnd(res)
    res.once('close', () => {
      this.#answers.delete(res)
      if (this.#closing) socket.destroySoon()
    })
  }
}

function announceEnd(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('connection', 'close')
}

function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port))
    server.once('error', refused)
    server.listen(port, host, () => {
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
