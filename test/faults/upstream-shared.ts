import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecure, type ServerOptions } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { expect } from 'vitest'
import { callTool, failureOf, type ToolResult } from '../acceptance/shared.js'
import { type ClientV1, connectV1Http } from '../kit/clients.js'
import { type Fake, startFake } from '../kit/fake-mcp.js'
import { type GatewayOptions, type TestGateway, withGateway } from '../kit/gateway.js'
import { expectWithin } from '../kit/slowness.js'

export interface Bench {
  readonly gateway: TestGateway
  readonly client: ClientV1
  /** A server that nothing is wrong with, under the name `good`. */
  readonly good: Fake
  /** Calls a tool of the faulty server, which has the name `bad`. */
  call(tool: string, args?: Record<string, unknown>): Promise<Told>
}

export interface Told {
  readonly result: ToolResult
  readonly failure: Record<string, unknown>
  readonly ms: number
}

/**
 * A gateway with one faulty server and a good one. Afterwards the good one must have answered throughout, on its one
 * session and in no time, and the gateway must end in peace.
 */
export async function besideGood(
  bad: Readonly<Record<string, unknown>>,
  use: (bench: Bench) => Promise<void>,
  options?: GatewayOptions,
): Promise<void> {
  const good = await startFake({ script: { builtins: ['echo'] } })
  try {
    await withGateway(
      { mcpServers: { bad, good: good.entry } },
      async gateway => {
        await gateway.settled(15_000)
        const client = await connectV1Http(gateway.url)
        const slowest = watch(client)
        try {
          await use({ gateway, client, good, call: (tool, args) => timed(client, `bad__${tool}`, args) })
        } finally {
          await expectWithin(await slowest(), 1_000)
          await client.close()
        }
        expect(good.records.sessions).toHaveLength(1)
        expect(gateway.running).toBe(true)
        expect(gateway.stderr).not.toMatch(/unhandled|uncaught|at async|A fault of the gateway/i)
      },
      options,
    )
  } finally {
    await good.stop()
  }
}

async function timed(client: ClientV1, name: string, args?: Record<string, unknown>): Promise<Told> {
  const before = performance.now()
  const result = await callTool(client, name, args)
  return { result, failure: failureOf(result), ms: performance.now() - before }
}

/** Calls the good server until told to stop. @returns the way to stop, which tells the longest time of a call */
function watch(client: ClientV1): () => Promise<number> {
  let over = false
  let slowest = 0
  const run = async () => {
    for (let n = 0; !over; n += 1) {
      const { result, ms } = await timed(client, 'good__echo', { n })
      expect(result.structuredContent).toEqual({ n })
      slowest = Math.max(slowest, ms)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
  const running = run()
  return async () => {
    over = true
    await running
    return slowest
  }
}

// ---- servers that do what no fake does -----------------------------------------------------------------------

export interface Scripted {
  readonly url: string
  readonly origin: string
  readonly seen: readonly SeenRequest[]
  /** Tool calls that were run. */
  runs(): number
  close(): void
}

export interface SeenRequest {
  readonly verb: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly id: number | undefined
  readonly method: string | undefined
  readonly tool: string | undefined
}

/** Answers one request, or leaves it to the usual answer by returning false. */
export type Odd = (request: SeenRequest, res: ServerResponse) => boolean

const TOOLS = ['do', 'echo'].map(name => ({ name, inputSchema: { type: 'object' } }))

/** A legacy server over HTTP with the tools `do` and `echo`, of whose answers any can be played by the test. */
export async function scripted(odd: Odd, tls?: ServerOptions): Promise<Scripted> {
  const seen: SeenRequest[] = []
  let runs = 0
  const handle = (req: IncomingMessage, res: ServerResponse) => {
    let body = ''
    req.on('data', chunk => {
      body += chunk
    })
    req.on('error', () => undefined)
    req.on('end', () => {
      const request = describe(req, body)
      seen.push(request)
      if (request.method === 'tools/call' && request.tool === 'do') runs += 1
      if (!odd(request, res)) answer(request, res)
    })
  }
  const server: Server = tls ? (createSecure(tls, handle) as never) : createHttp(handle)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}/mcp`,
    seen,
    runs: () => runs,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function describe(req: IncomingMessage, body: string): SeenRequest {
  const { id, method, params } = (body === '' ? {} : JSON.parse(body)) as {
    id?: number
    method?: string
    params?: { name?: string }
  }
  return {
    verb: req.method ?? '',
    url: req.url ?? '',
    headers: req.headers,
    body,
    id,
    method,
    tool: params?.name,
  }
}

export function answer({ verb, id, method }: SeenRequest, res: ServerResponse): void {
  if (verb !== 'POST') return void res.writeHead(405).end()
  if (id === undefined) return void res.writeHead(202).end()
  if (method === 'server/discover') return void res.writeHead(400).end()
  send(res, id, resultFor(method), method === 'initialize' ? { 'mcp-session-id': `s${Date.now()}` } : {})
}

function resultFor(method: string | undefined): unknown {
  if (method === 'tools/list') return { tools: TOOLS }
  if (method === 'tools/call') return { content: [{ type: 'text', text: 'done' }] }
  if (method !== 'initialize') return {}
  const serverInfo = { name: 'odd', version: '1' }
  return { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo }
}

export function send(res: ServerResponse, id: number, result: unknown, headers = {}): void {
  const body = JSON.stringify({ jsonrpc: '2.0', id, result })
  res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body)
}

export const isCall = ({ method, tool }: SeenRequest) => method === 'tools/call' && tool === 'do'

/** A tunnel to a server that a test can make fail below HTTP. */
export interface Tunnel {
  readonly url: string
  /** Bytes are swallowed in both directions; the connections stay. */
  swallow(): void
  /** New connections are made as before. */
  heal(): void
  readonly sockets: ReadonlySet<Socket>
  close(): void
}

export async function tunnel(to: string): Promise<Tunnel> {
  const { connect } = await import('node:net')
  const port = Number(new URL(to).port)
  const sockets = new Set<Socket>()
  const swallowed = new WeakSet<Socket>()
  let swallowing = false
  const server = createTcp(near => {
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) socket.on('error', () => undefined)
    sockets.add(near)
    near.on('close', () => {
      sockets.delete(near)
      far.destroy()
    })
    far.on('close', () => {
      if (!swallowed.has(near)) near.destroy()
    })
    near.on('data', data => {
      if (swallowing) swallowed.add(near)
      if (!swallowed.has(near)) far.write(data)
    })
    far.on('data', data => {
      if (!swallowed.has(near)) near.write(data)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    swallow: () => {
      swallowing = true
      for (const socket of sockets) swallowed.add(socket)
    },
    heal: () => {
      swallowing = false
    },
    sockets,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
