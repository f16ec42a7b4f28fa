import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestGateway } from '../kit/gateway.js'
import { MODERN, MODERN_META } from '../kit/modern-meta.js'
import { MCP_HEADERS, type RawResponse, type RawStream, rawPost, rawStream } from '../kit/raw-http.js'

export { KEY, MODERN, MODERN_META as META } from '../kit/modern-meta.js'

export interface RpcAnswer {
  readonly jsonrpc?: string
  readonly id?: string | number | null
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: {
    readonly code: number
    readonly message: string
    readonly data?: Record<string, unknown>
  }
}

export function parsed(text: string | null | undefined): RpcAnswer {
  return JSON.parse(text ?? 'null') as RpcAnswer
}

export const request = (method: string, params: unknown = {}, id: unknown = 1): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params })

export const notification = (method: string, params: unknown = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', method, params })

export interface ModernCall {
  readonly method: string
  readonly params?: Readonly<Record<string, unknown>>
  readonly meta?: Readonly<Record<string, unknown>>
  readonly id?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export const toolCall = (name: string, args: Readonly<Record<string, unknown>> = {}): ModernCall => ({
  method: 'tools/call',
  params: { name, arguments: args },
})

export function modernBody({ method, params = {}, meta = {}, id = 'q1' }: ModernCall): string {
  return request(method, { ...params, _meta: { ...MODERN_META, ...meta } }, id)
}

export function modernHeaders({ method, params = {}, headers = {} }: ModernCall): Record<string, string> {
  const name = method === 'resources/read' ? params['uri'] : params['name']
  const named: Record<string, string> = typeof name === 'string' ? { 'mcp-name': name } : {}
  return { ...MCP_HEADERS, 'mcp-protocol-version': MODERN, 'mcp-method': method, ...named, ...headers }
}

export interface Exchange {
  readonly status: number
  readonly headers: RawResponse['headers']
  readonly answer: RpcAnswer
  /** What came before the answer. */
  readonly before: readonly RpcAnswer[]
}

export async function postModern(gateway: TestGateway, call: ModernCall): Promise<Exchange> {
  const response = await rawPost(gateway.url, modernBody(call), modernHeaders(call))
  const messages = response.messages.map(parsed)
  return {
    status: response.status,
    headers: response.headers,
    answer: messages.at(-1) ?? {},
    before: messages.slice(0, -1),
  }
}

export function streamModern(gateway: TestGateway, call: ModernCall): Promise<RawStream> {
  return rawStream(gateway.url, { method: 'POST', body: modernBody(call), headers: modernHeaders(call) })
}

// ---- legacy sessions ---------------------------------------------------------------------------------------

export function hello(version = '2025-11-25', capabilities: unknown = {}): string {
  const clientInfo = { name: 'raw', version: '1' }
  return request('initialize', { protocolVersion: version, capabilities, clientInfo }, 0)
}

export interface Session {
  readonly headers: Readonly<Record<string, string>>
  readonly result: Record<string, unknown>
  post(body: string): Promise<RawResponse>
  ask(method: string, params?: unknown, id?: unknown): Promise<RpcAnswer>
  /** The stream for notifications. */
  listen(): Promise<RawStream>
}

export async function openSession(
  gateway: TestGateway,
  version?: string,
  capabilities?: unknown,
): Promise<Session> {
  const { headers: answered, messages } = await rawPost(gateway.url, hello(version, capabilities))
  const headers = { 'mcp-session-id': String(answered['mcp-session-id']) }
  const post = (body: string) => rawPost(gateway.url, body, headers)
  await post('{"jsonrpc":"2.0","method":"notifications/initialized"}')
  return {
    headers,
    result: parsed(messages[0]).result ?? {},
    post,
    ask: async (method, params, id) => parsed((await post(request(method, params, id))).messages.at(-1)),
    listen: () =>
      rawStream(gateway.url, { method: 'GET', headers: { ...headers, accept: 'text/event-stream' } }),
  }
}

// ---- servers that do what no fake does ---------------------------------------------------------------------

export interface Seen {
  readonly verb: string
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly message: RpcAnswer
}

export interface OddServer {
  readonly url: string
  readonly seen: readonly Seen[]
  close(): void
}

/** An HTTP server whose every answer is written by the test. */
export async function oddServer(answer: (seen: Seen, res: ServerResponse) => void): Promise<OddServer> {
  const seen: Seen[] = []
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const message = text === '' ? {} : parsed(text)
      const one = { verb: req.method ?? '', headers: req.headers, text, message }
      seen.push(one)
      answer(one, res)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    seen,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

export function answerJson(res: ServerResponse, body: unknown, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
