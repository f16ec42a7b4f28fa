import { afterAll, beforeAll, describe, expect } from 'vitest'
import { CRASHING } from '../acceptance/shared.js'
import { type Fake, startFake } from '../kit/fake-mcp.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { KEY, MODERN_META as META, MODERN as VERSION } from '../kit/modern-meta.js'
import { MCP_HEADERS, rawPost, rawRequest, rawStream } from '../kit/raw-http.js'
import { verifies } from '../kit/verifies.js'

const headerTool = {
  name: 'paint',
  behaves: 'echo',
  descriptor: {
    inputSchema: {
      type: 'object',
      properties: {
        colour: { type: 'string', 'x-mcp-header': 'Colour' },
        size: { type: 'integer', 'x-mcp-header': 'Size' },
      },
    },
  },
}

let gateway: TestGateway
let legacy: Fake
let modern: Fake

beforeAll(async () => {
  legacy = await startFake({
    script: {
      tools: [headerTool],
      resources: [{ uri: 'demo://a', text: 'x' }],
      prompts: [{ name: 'p', text: 'hi' }],
    },
  })
  modern = await startFake({ script: { eras: 'modern' } })
  gateway = await startGateway({ mcpServers: { legacy: legacy.entry, modern: modern.entry, down: CRASHING } })
  await gateway.settled()
})
afterAll(async () => {
  await gateway?.stop()
  await Promise.all([legacy?.stop(), modern?.stop()])
})

interface Sent {
  readonly method: string
  readonly params?: Record<string, unknown>
  readonly meta?: Record<string, unknown> | null
  readonly id?: unknown
  readonly headers?: Record<string, string | undefined>
}

function message({ method, params = {}, meta = META, id = 'q1' }: Sent): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    method,
    params: meta === null ? params : { ...params, _meta: meta },
  })
}

function headersFor({ method, params = {}, headers = {} }: Sent): Record<string, string> {
  const name = params['name'] ?? params['uri']
  const all = {
    'mcp-protocol-version': VERSION,
    'mcp-method': method,
    ...(typeof name === 'string' && method !== 'completion/complete' ? { 'mcp-name': name } : {}),
    ...headers,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<
    string,
    string
  >
}

async function send(sent: Sent, path = '') {
  const response = await rawPost(gateway.url + path, message(sent), headersFor(sent))
  const answer = JSON.parse(response.messages.at(-1) ?? 'null')
  return {
    status: response.status,
    headers: response.headers,
    answer,
    code: answer?.error?.code,
    id: answer?.id,
    result: answer?.result,
  }
}

const call = (name: string, args: Record<string, unknown> = {}): Sent => ({
  method: 'tools/call',
  params: { name, arguments: args },
})

describe('a modern request over HTTP', () => {
  verifies(['P1'], 'without version or capabilities is refused, without client info served', async () => {
    const bare = await send({ method: 'tools/list', meta: null })
    expect([bare.status, bare.code, bare.id]).toEqual([400, -32602, 'q1'])
    const noCapabilities = await send({ method: 'tools/list', meta: { [`${KEY}protocolVersion`]: VERSION } })
    expect([noCapabilities.status, noCapabilities.code, noCapabilities.id]).toEqual([400, -32602, 'q1'])
    expect((await send({ method: 'tools/list' })).status).toBe(200)
  })

  verifies(['P2'], 'whose headers differ from its body is refused', async () => {
    const wrong: Record<string, string | undefined>[] = [
      { 'mcp-protocol-version': undefined },
      { 'mcp-protocol-version': '2025-11-25' },
      { 'mcp-method': undefined },
      { 'mcp-method': 'TOOLS/CALL' },
      { 'mcp-name': undefined },
      { 'mcp-name': 'legacy__other' },
    ]
    for (const headers of wrong) {
      const { status, code, id } = await send({ ...call('legacy__echo'), headers })
      expect([status, code, id], JSON.stringify(headers)).toEqual([400, -32020, 'q1'])
    }
    expect((await send({ ...call('legacy__echo'), headers: { 'mcp-name': '  legacy__echo ' } })).status).toBe(
      200,
    )
  })

  verifies(['P3'], 'may have its name header in base64, well-formed', async () => {
    const encoded = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`
    const withName = (name: string) => send({ ...call('legacy__echo'), headers: { 'mcp-name': name } })
    expect((await withName(encoded('legacy__echo'))).status).toBe(200)
    for (const bad of ['=?base64?bGVnYWN5X19lY2hv?', '=?base64?!!!!?=', '=?BASE64?bGVnYWN5X19lY2hv?=']) {
      expect([(await withName(bad)).status, (await withName(bad)).code]).toEqual([400, -32020])
    }
  })

  verifies(['P4'], 'must mirror annotated arguments, and only those that are there', async () => {
    const paint = (args: Record<string, unknown>, headers: Record<string, string>) =>
      send({ ...call('legacy__paint', args), headers })
    expect(
      (await paint({ colour: 'red', size: 42 }, { 'mcp-param-colour': 'red', 'mcp-param-size': '42.0' }))
        .status,
    ).toBe(200)
    expect((await paint({ colour: null }, {})).status).toBe(200)
    expect((await paint({}, {})).status).toBe(200)
    for (const headers of [
      {},
      { 'mcp-param-colour': 'blue' },
      { 'mcp-param-colour': '=?base64?!?=' },
    ] as Record<string, string>[]) {
      const { status, code } = await paint({ colour: 'red' }, headers)
      expect([status, code]).toEqual([400, -32020])
    }
  })

  verifies(['P5'], 'of an unknown version is told which ones there are', async () => {
    const { status, code, answer } = await send({
      method: 'tools/list',
      meta: { ...META, [`${KEY}protocolVersion`]: '2031-01-01' },
      headers: { 'mcp-protocol-version': '2031-01-01' },
    })
    expect([status, code]).toEqual([400, -32022])
    expect(answer.error.data).toEqual({
      supported: ['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'],
      requested: '2031-01-01',
    })
  })

  verifies(['P6'], 'for a method that this era does not have is 404', async () => {
    for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'made/up']) {
      const { status, code, id } = await send({ method })
      expect([method, status, code, id]).toEqual([method, 404, -32601, 'q1'])
    }
  })

  verifies(['P7'], 'for discovery is answered whatever the servers do', async () => {
    const { status, result } = await send({ method: 'server/discover' })
    expect(status).toBe(200)
    expect(result).toMatchObject({
      resultType: 'complete',
      supportedVersions: expect.arrayContaining([VERSION]),
      capabilities: { tools: {} },
    })
    expect(result.instructions).toMatch(/down: .*exited with code 1/)
  })

  verifies(['P8', 'P21'], 'gets a result type, cache fields and the name of the gateway', async () => {
    const cached: Sent[] = [
      { method: 'server/discover' },
      { method: 'tools/list' },
      { method: 'prompts/list' },
      { method: 'resources/list' },
      { method: 'resources/templates/list' },
      { method: 'resources/read', params: { uri: 'demo://legacy~/a' } },
    ]
    for (const sent of cached) {
      const { result } = await send(sent)
      expect(result, sent.method).toMatchObject({
        resultType: 'complete',
        cacheScope: expect.stringMatching(/^(public|private)$/),
      })
      expect(result.ttlMs, sent.method).toBeGreaterThanOrEqual(0)
      expect(result._meta[`${KEY}serverInfo`], sent.method).toMatchObject({ name: 'holdfast' })
    }
    for (const name of ['legacy__echo', 'modern__echo', 'down__x']) {
      const { result } = await send(call(name))
      expect(result.resultType, name).toBe('complete')
      expect(result._meta[`${KEY}serverInfo`].name, name).toBe('holdfast')
    }
    const streamed = await rawPost(
      gateway.url,
      message({ ...call('legacy__progress', { n: 1, after: 20 }), meta: { ...META, progressToken: 't' } }),
      headersFor(call('legacy__progress')),
    )
    expect(streamed.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    expect(JSON.parse(streamed.events.at(-1) ?? '')).toMatchObject({
      id: 'q1',
      result: { resultType: 'complete' },
    })
  })

  verifies(
    ['P13'],
    'to listen is acknowledged first, hears only what it asked for, under its own id, and survives a restart of a server',
    async () => {
      const listen: Sent = {
        method: 'subscriptions/listen',
        id: 77,
        params: { notifications: { toolsListChanged: true, unknownChange: true } },
      }
      const stream = await rawStream(gateway.url, {
        method: 'POST',
        body: message(listen),
        headers: { ...MCP_HEADERS, ...headersFor(listen) },
      })
      const next = async () => JSON.parse((await stream.next(8_000)) ?? 'null')
      const tagged = { _meta: { [`${KEY}subscriptionId`]: 77 } }
      expect(await next()).toEqual({
        jsonrpc: '2.0',
        method: 'notifications/subscriptions/acknowledged',
        params: { ...tagged, notifications: { toolsListChanged: true } },
      })
      await legacy.patch({ prompts: [{ name: 'p2', text: 'x' }] })
      await legacy.announce('prompts')
      await legacy.patch({ tools: [headerTool, { name: 'late', result: '{"content":[]}' }] })
      await legacy.announce('tools')
      expect(await next()).toEqual({
        jsonrpc: '2.0',
        method: 'notifications/tools/list_changed',
        params: tagged,
      })
      await legacy.crash()
      await legacy.restart()
      await legacy.patch({ tools: [headerTool] })
      await send(call('legacy__echo'))
      await gateway.waitForState('legacy', 'ready')
      expect(await next()).toMatchObject({ method: 'notifications/tools/list_changed' })
      stream.drop()
    },
  )

  verifies(['P14'], 'that is dropped cancels the work at the server', async () => {
    for (const [name, fake] of [
      ['legacy', legacy],
      ['modern', modern],
    ] as const) {
      const sleep = { ...call(`${name}__sleep`, { ms: 60_000 }), meta: { ...META, progressToken: 1 } }
      const before = fake.records.runs('sleep')
      const aborted = rawRequest(gateway.url, {
        method: 'POST',
        body: message(sleep),
        headers: { ...MCP_HEADERS, ...headersFor(sleep) },
        timeoutMs: 500,
      }).catch(() => 'dropped')
      await fake.records.waitFor(records => records.runs('sleep') === before + 1)
      expect(await aborted).toBe('dropped')
      await fake.records.waitFor(records => records.cancelled.length > 0)
      await gateway.waitFor(status => status.upstreams.every(upstream => upstream.inFlight === 0))
    }
  })

  verifies(['P15'], 'of a web page is refused, and so are verbs that need a session', async () => {
    const list = { method: 'tools/list' }
    const evil = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://localhost.evil.example' },
      { host: 'evil.example' },
      { host: '127.0.0.1.' },
      { 'sec-fetch-site': 'cross-site' },
    ] as Record<string, string>[]
    for (const headers of evil) {
      for (const path of ['', '/../healthz', '/../api/v1/status']) {
        const url = new URL(`mcp${path}`, gateway.origin).href
        const { status } = await rawPost(url, message(list), { ...headersFor(list), ...headers })
        expect(status, JSON.stringify([headers, path])).toBe(403)
      }
    }
    expect(
      (await rawPost(gateway.url, message(list), { ...headersFor(list), origin: 'http://localhost:5173' }))
        .status,
    ).toBe(200)
    for (const method of ['GET', 'DELETE', 'PUT']) {
      const { status, headers } = await rawRequest(gateway.url, {
        method,
        headers: { accept: 'text/event-stream' },
      })
      expect([method, status, headers['allow']]).toEqual([method, 405, 'POST'])
    }
  })

  verifies(['P16'], 'is one message: a notification is taken, an array or an answer is not', async () => {
    const cancelled = JSON.stringify({
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params: { requestId: 1, _meta: META },
    })
    const taken = await rawPost(gateway.url, cancelled, { 'mcp-protocol-version': VERSION })
    expect([taken.status, taken.text]).toEqual([202, ''])
    for (const body of [
      `[${message({ method: 'tools/list' })}]`,
      '[]',
      '{"jsonrpc":"2.0","id":1,"result":{}}',
    ]) {
      expect((await rawPost(gateway.url, body, { 'mcp-protocol-version': VERSION })).status, body).toBe(400)
    }
  })

  verifies(['P17'], 'for a resource that is not there says so in the way of this era', async () => {
    await legacy.patch({
      faults: [
        {
          on: 'resources/read',
          do: { kind: 'error', code: -32002, message: 'not found', data: { uri: 'demo://a' } },
        },
      ],
    })
    const { status, code } = await send({ method: 'resources/read', params: { uri: 'demo://legacy~/a' } })
    expect([status, code]).toEqual([200, -32602])
    await legacy.patch({
      faults: [{ on: 'resources/read', do: { kind: 'error', code: -32042, message: 'url needed' } }],
    })
    expect((await send({ method: 'resources/read', params: { uri: 'demo://legacy~/a' } })).code).toBe(-32603)
    await legacy.patch({ faults: [] })
  })

  verifies(['P18'], 'lists in one order, however the servers came up', async () => {
    const names = async () =>
      (await send({ method: 'tools/list' })).result.tools.map(
        (tool: { name: string }) => tool.name.split('__')[0],
      )
    const order = [...new Set(await names())]
    expect(order).toEqual(['legacy', 'modern'])
    await legacy.crash()
    await legacy.restart()
    await send(call('legacy__echo'))
    await gateway.waitForState('legacy', 'ready')
    expect([...new Set(await names())]).toEqual(order)
  })
})

describe('a body', () => {
  verifies(['P16'], 'that cannot be used gets a clear refusal, and the gateway goes on', async () => {
    const list = message({ method: 'tools/list' })
    const headers = headersFor({ method: 'tools/list' })
    const rows: [body: string | Buffer, headers: Record<string, string>, status: number][] = [
      ['not json', headers, 400],
      [Buffer.from([0x7b, 0xff, 0x7d]), headers, 400],
      [list, { ...headers, 'content-type': 'text/plain' }, 415],
      [list, { ...headers, accept: 'text/html' }, 406],
      [
        `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":${'['.repeat(200)}${']'.repeat(200)}}}`,
        headers,
        400,
      ],
    ]
    for (const [body, sent, status] of rows) {
      const response = await rawPost(gateway.url, body, sent)
      expect(response.status).toBe(status)
      expect(JSON.parse(response.text).error.message.length).toBeGreaterThan(10)
    }
    expect((await rawPost(gateway.url, list, headers)).status).toBe(200)
  })
})
