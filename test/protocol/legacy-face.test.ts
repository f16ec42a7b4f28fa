import { afterAll, beforeAll, describe, expect } from 'vitest'
import { CRASHING } from '../acceptance/shared.js'
import { connectV1Http, connectV2Http, gatewayOnStdio } from '../kit/clients.js'
import { type Fake, startFake } from '../kit/fake-mcp.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { MODERN_META } from '../kit/modern-meta.js'
import { MCP_HEADERS, rawPost, rawRequest, rawStream } from '../kit/raw-http.js'
import { openPipe } from '../kit/raw-stdio.js'
import { verifies } from '../kit/verifies.js'

const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']

let gateway: TestGateway
let legacy: Fake
let modern: Fake

beforeAll(async () => {
  legacy = await startFake({ script: {} })
  modern = await startFake({
    script: {
      eras: 'modern',
      tools: [
        {
          name: 'number',
          descriptor: { outputSchema: { type: 'number' } },
          result:
            '{"resultType":"complete","content":[],"structuredContent":7,"ttlMs":5,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"m","version":"1"},"mine":1}}',
        },
      ],
      resources: [{ uri: 'demo://a', text: 'x' }],
    },
  })
  gateway = await startGateway({ mcpServers: { legacy: legacy.entry, modern: modern.entry, down: CRASHING } })
  await gateway.settled()
})
afterAll(async () => {
  await gateway?.stop()
  await Promise.all([legacy?.stop(), modern?.stop()])
})

const rpc = (method: string, params?: unknown, id: unknown = 1) =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params })
const hello = (version: string) =>
  rpc(
    'initialize',
    { protocolVersion: version, capabilities: {}, clientInfo: { name: 't', version: '1' } },
    0,
  )

async function openSession(version = '2025-11-25') {
  const answer = await rawPost(gateway.url, hello(version))
  const headers = { 'mcp-session-id': String(answer.headers['mcp-session-id']) }
  await rawPost(gateway.url, '{"jsonrpc":"2.0","method":"notifications/initialized"}', headers)
  const post = async (method: string, params?: unknown, id: unknown = 1) => {
    const response = await rawPost(gateway.url, rpc(method, params, id), headers)
    return { ...response, answer: JSON.parse(response.messages.at(-1) ?? 'null') }
  }
  return { headers, post, result: JSON.parse(answer.messages[0] ?? '').result }
}

describe('a legacy session', () => {
  verifies(['P24'], 'is negotiated in each version, with the latest for an unknown one', async () => {
    for (const version of VERSIONS) expect((await openSession(version)).result.protocolVersion).toBe(version)
    expect((await openSession('2023-01-01')).result.protocolVersion).toBe('2025-11-25')
  })

  verifies(['P25'], 'is needed, is known by its id, and ends', async () => {
    const list = rpc('tools/list')
    expect((await rawPost(gateway.url, list)).status).toBe(400)
    expect((await rawPost(gateway.url, list, { 'mcp-session-id': 'f'.repeat(32) })).status).toBe(404)
    const { headers } = await openSession()
    expect(
      (await rawPost(gateway.url, list, { ...headers, 'mcp-protocol-version': '1999-01-01' })).status,
    ).toBe(400)
    expect((await rawPost(gateway.url, list, headers)).status).toBe(200)
    expect((await rawPost(`${gateway.url}/s/legacy`, list, headers)).status).toBe(404)
    expect((await rawRequest(gateway.url, { method: 'DELETE', headers })).status).toBe(204)
    expect((await rawPost(gateway.url, list, headers)).status).toBe(404)
    expect((await rawRequest(gateway.url, { method: 'DELETE', headers })).status).toBe(404)
  })

  verifies(['P26'], 'has a stream with notifications alone, each told once', async () => {
    const { headers, post } = await openSession()
    const stream = await rawStream(gateway.url, {
      method: 'GET',
      headers: { ...headers, accept: 'text/event-stream' },
    })
    expect(stream.status).toBe(200)
    await legacy.patch({ tools: [{ name: 'late', result: '{"content":[]}' }] })
    await legacy.announce('tools')
    expect(JSON.parse((await stream.next(8_000)) ?? '')).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/tools/list_changed',
    })
    await post('tools/call', { name: 'legacy__echo', arguments: {} })
    await legacy.patch({ tools: [] })
    await legacy.announce('tools')
    await stream.next(8_000)
    const messages = stream.text.split('\n').filter(line => line.startsWith('data:'))
    expect(messages).toHaveLength(2)
    expect(stream.text).not.toContain('"result"')
    stream.drop()
  })

  verifies(['P27'], 'may send batches in one version alone', async () => {
    const batch = `[${rpc('ping', undefined, 1)},{"jsonrpc":"2.0","method":"notifications/initialized"},${rpc('tools/call', { name: 'legacy__echo', arguments: {} }, 2)}]`
    for (const version of VERSIONS) {
      const { headers } = await openSession(version)
      const { status, text } = await rawPost(gateway.url, batch, headers)
      expect([version, status]).toEqual([version, version === '2025-03-26' ? 200 : 400])
      if (status === 200) expect(JSON.parse(text).map((answer: { id: number }) => answer.id)).toEqual([1, 2])
    }
  })

  verifies(
    ['P28'],
    'keeps a call when the client drops its connection, and ends it when it cancels',
    async () => {
      const { headers, post } = await openSession()
      const ran = legacy.records.runs('sleep')
      const cancelled = legacy.records.cancelled.length
      const call = (id: number, ms: number) =>
        rpc('tools/call', { name: 'legacy__sleep', arguments: { ms } }, id)
      await rawRequest(gateway.url, {
        method: 'POST',
        headers: { ...MCP_HEADERS, ...headers },
        body: call(5, 800),
        timeoutMs: 200,
      }).catch(() => undefined)
      await legacy.records.waitFor(records => records.runs('sleep') === ran + 1)
      await gateway.waitFor(status => status.upstreams[0]?.inFlight === 0)
      expect(legacy.records.cancelled.length).toBe(cancelled)
      const running = rawPost(gateway.url, call(6, 60_000), headers)
      await legacy.records.waitFor(records => records.runs('sleep') === ran + 2)
      const cancel = {
        jsonrpc: '2.0',
        method: 'notifications/cancelled',
        params: { requestId: 6, reason: 'enough' },
      }
      expect((await rawPost(gateway.url, JSON.stringify(cancel), headers)).status).toBe(202)
      await legacy.records.waitFor(records => records.cancelled.length === cancelled + 1)
      expect((await running).messages).toEqual([])
      expect((await post('ping')).answer.result).toEqual({})
    },
  )

  verifies(['P29'], 'never sees what only the modern era has', async () => {
    const { post } = await openSession()
    const listed = (await post('tools/list')).answer.result
    expect(Object.keys(listed).sort()).toEqual(['_meta', 'tools'])
    expect(
      listed.tools.find((tool: { name: string }) => tool.name === 'modern__number').outputSchema,
    ).toBeUndefined()
    const { result } = (await post('tools/call', { name: 'modern__number', arguments: {} })).answer
    expect(result).toEqual({ content: [{ type: 'text', text: '7' }], _meta: { mine: 1 } })
    const { error } = (await post('resources/read', { uri: 'demo://modern~/nope' })).answer
    expect(error.code).toBe(-32002)
  })

  verifies(['P28'], 'is refused a second request with an id that is in flight', async () => {
    const { headers } = await openSession()
    const call = (ms: number) =>
      rawPost(gateway.url, rpc('tools/call', { name: 'legacy__sleep', arguments: { ms } }, 9), headers)
    const first = call(700)
    const ran = legacy.records.runs('sleep')
    await legacy.records.waitFor(records => records.runs('sleep') > ran - 1)
    const answers = await Promise.all([first, call(1)])
    const codes = answers.map(answer => JSON.parse(answer.messages[0] ?? '').error?.code)
    expect(codes.sort()).toEqual([-32600, undefined])
  })

  verifies(['P24'], 'stores its log level and refuses a wrong one', async () => {
    const { post } = await openSession()
    expect((await post('logging/setLevel', { level: 'info' })).answer.result).toEqual({})
    expect((await post('logging/setLevel', { level: 'loud' })).answer.error.code).toBe(-32602)
  })
})

describe('both eras', () => {
  verifies(['P30'], 'are served at one URL at once', async () => {
    const clients = await Promise.all([
      connectV1Http(gateway.url),
      connectV2Http(gateway.url, 'modern'),
      connectV2Http(gateway.url, 'legacy'),
    ])
    const names = await Promise.all(
      clients.map(async client =>
        (await (client as (typeof clients)[0]).listTools()).tools.map(tool => tool.name),
      ),
    )
    expect(names[1]).toEqual(names[0])
    expect(names[2]).toEqual(names[0])
    expect(names[0]?.length).toBeGreaterThan(10)
    await Promise.all(clients.map(client => client.close()))
  })

  verifies(['P30', 'P31'], 'are served on one stdio stream, and garbage does not end it', async () => {
    const pipe = openPipe(await gatewayOnStdio({ config: gateway.configFile }))
    try {
      const ask = async (text: string) => {
        pipe.write(`${text}\n`)
        return JSON.parse((await pipe.next(10_000)) ?? 'null')
      }
      expect((await ask('garbage')).error.code).toBe(-32700)
      expect((await ask('{"jsonrpc":"2.0","id":1}')).error.code).toBe(-32600)
      expect(await ask(rpc('tools/list', {}, 2))).toMatchObject({
        id: 2,
        error: { code: -32600, message: expect.stringContaining('initialize') },
      })
      expect(await ask(rpc('server/discover', { _meta: MODERN_META }, 3))).toMatchObject({
        id: 3,
        result: { resultType: 'complete' },
      })
      expect((await ask(hello('2025-06-18'))).result.protocolVersion).toBe('2025-06-18')
      expect(await ask(rpc('ping', {}, 4))).toEqual({ jsonrpc: '2.0', id: 4, result: {} })
      expect(await ask(rpc('initialize', { _meta: MODERN_META }, 5))).toMatchObject({
        id: 5,
        error: { code: -32601 },
      })
      expect(await ask(rpc('nope/nope', {}, 6))).toMatchObject({ id: 6, error: { code: -32601 } })
      expect((await ask(rpc('tools/list', { _meta: MODERN_META }, 'm'))).result.resultType).toBe('complete')
    } finally {
      expect(await pipe.close()).toBe(0)
    }
  })
})
