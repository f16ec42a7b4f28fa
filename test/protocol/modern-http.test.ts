/** The modern era over HTTP, at its edges; the plain cases are in modern-face.test.ts. */
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { CRASHING, refusing } from '../acceptance/shared.js'
import { type Fake, startFake, withFakes } from '../kit/fake-mcp.js'
import { startGateway, type TestGateway, withGateway } from '../kit/gateway.js'
import { rawPost, rawRequest, rawStream } from '../kit/raw-http.js'
import { verifies } from '../kit/verifies.js'
import {
  KEY,
  MODERN,
  type ModernCall,
  modernBody,
  modernHeaders,
  notification,
  openSession,
  parsed,
  postModern,
  type RpcAnswer,
  request,
  streamModern,
  toolCall,
} from './shared.js'

const paint = {
  name: 'paint',
  behaves: 'echo',
  descriptor: {
    inputSchema: {
      type: 'object',
      properties: {
        text: { type: 'string', 'x-mcp-header': 'Text' },
        on: { type: 'boolean', 'x-mcp-header': 'On' },
        deep: { type: 'object', properties: { n: { type: 'integer', 'x-mcp-header': 'Deep-N' } } },
      },
    },
  },
}

let gateway: TestGateway
let legacy: Fake
let modern: Fake

beforeAll(async () => {
  const resources = [{ uri: 'demo://a', text: 'A' }]
  legacy = await startFake({
    script: {
      tools: [
        paint,
        { name: '10', result: '{"content":[]}' },
        { name: 'grün', result: '{"content":[{"type":"text","text":"ok"}]}' },
      ],
      resources,
      prompts: [{ name: 'p', text: 'hi' }],
    },
  })
  modern = await startFake({
    script: {
      eras: 'modern',
      tools: [{ name: 'bare', result: '{"content":[]}' }],
      resources,
      prompts: [{ name: 'p', text: 'hi' }],
    },
  })
  gateway = await startGateway({
    mcpServers: {
      legacy: legacy.entry,
      modern: modern.entry,
      plain: { ...legacy.entry, holdfast: { prefix: '' } },
      down: CRASHING,
    },
  })
  await gateway.settled()
})
afterAll(async () => {
  await gateway?.stop()
  await Promise.all([legacy?.stop(), modern?.stop()])
})

const post = (call: ModernCall) => postModern(gateway, call)
const shape = async (call: ModernCall) => {
  const { status, answer } = await post(call)
  return [status, answer.error?.code, answer.id]
}

describe('the envelope', () => {
  verifies(
    ['P1'],
    'needs an object of capabilities and a known log level, and may lack the rest',
    async () => {
      for (const meta of [
        { [`${KEY}clientCapabilities`]: null },
        { [`${KEY}clientCapabilities`]: [] },
        { [`${KEY}clientCapabilities`]: 'all' },
        { [`${KEY}logLevel`]: 'loud' },
      ]) {
        const refused = await shape({ method: 'tools/list', meta, id: 42 })
        expect(refused, JSON.stringify(meta)).toEqual([400, -32602, 42])
      }
      const unclaimed = await rawPost(
        gateway.url,
        request('tools/list', {}, 'x'),
        modernHeaders({ method: 'tools/list' }),
      )
      expect([unclaimed.status, parsed(unclaimed.text)]).toMatchObject([
        400,
        { id: 'x', error: { code: -32602, message: expect.stringContaining(`${KEY}protocolVersion`) } },
      ])
      const info = { [`${KEY}clientInfo`]: { name: 'c', version: '1' } }
      expect(await shape({ method: 'tools/list', meta: info })).toEqual([200, undefined, 'q1'])
    },
  )

  verifies(['P5'], 'of an unknown version is refused before anything else is looked at', async () => {
    for (const version of ['1999-01-01', '2026-07-29', 'latest']) {
      const { status, answer } = await post({
        method: 'made/up',
        meta: { [`${KEY}protocolVersion`]: version, [`${KEY}clientCapabilities`]: null },
        headers: { 'mcp-protocol-version': version },
      })
      expect([status, answer.id, answer.error?.code]).toEqual([400, 'q1', -32022])
      expect(answer.error?.data).toMatchObject({
        requested: version,
        supported: expect.arrayContaining([MODERN, '2025-11-25']),
      })
    }
  })
})

describe('a mirrored header', () => {
  verifies(
    ['P2'],
    'is known in any case, and its value in one; prompts and resources have names too',
    async () => {
      const call = toolCall('legacy__echo')
      const shouted = Object.fromEntries(
        Object.entries(modernHeaders(call)).map(([key, value]) => [key.toUpperCase(), value]),
      )
      const { status } = await rawRequest(gateway.url, {
        method: 'POST',
        headers: shouted,
        body: modernBody(call),
      })
      expect(status).toBe(200)
      const named: ModernCall[] = [
        toolCall('legacy__echo'),
        { method: 'prompts/get', params: { name: 'legacy__p' } },
        { method: 'resources/read', params: { uri: 'demo://legacy~/a' } },
      ]
      for (const one of named) {
        expect(await shape(one), one.method).toEqual([200, undefined, 'q1'])
        const other = { ...one, headers: { 'mcp-name': 'Legacy__echo' } }
        expect(await shape(other), one.method).toEqual([400, -32020, 'q1'])
        const { 'mcp-name': _name, ...nameless } = modernHeaders(one)
        const refused = await rawRequest(gateway.url, {
          method: 'POST',
          headers: nameless,
          body: modernBody(one),
        })
        expect([refused.status, parsed(refused.text).error?.code], one.method).toEqual([400, -32020])
      }
    },
  )

  verifies(['P2'], 'with a name is compared as text, also where the name is a number', async () => {
    expect((await post(toolCall('10'))).status).toBe(200)
    expect(await shape({ ...toolCall('10'), headers: { 'mcp-name': '10.0' } })).toEqual([400, -32020, 'q1'])
    expect(await shape({ ...toolCall('10'), headers: { 'mcp-name': '0xa' } })).toEqual([400, -32020, 'q1'])
  })

  verifies(['P3'], 'in base64 may hold any text; a marker in another case is a literal', async () => {
    const call = {
      method: 'tools/call',
      params: { name: 'legacy__paint', arguments: { text: 'größer = 1' } },
    }
    const encode = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`
    const withText = (value: string) => shape({ ...call, headers: { 'mcp-param-text': value } })
    expect(await withText(encode('größer = 1'))).toEqual([200, undefined, 'q1'])
    const bad = [
      encode('größer = 2'),
      encode('größer = 1').replace('base64', 'Base64'),
      '=?base64?QQ=?=',
      '=?base64?_w==?=',
      '=?base64?/w==?=',
    ]
    for (const value of bad) expect(await withText(value), value).toEqual([400, -32020, 'q1'])
    const literal = '=?BASE64?QQ==?='
    const sent = { method: 'tools/call', params: { name: 'legacy__paint', arguments: { text: literal } } }
    expect(await shape({ ...sent, headers: { 'mcp-param-text': literal } })).toEqual([200, undefined, 'q1'])
  })

  verifies(['P4'], 'of an argument compares numbers as numbers, and text and truth as text', async () => {
    const shapeOf = (args: Record<string, unknown>, headers: Record<string, string>) =>
      shape({ ...toolCall('legacy__paint', args), headers })
    const served = [200, undefined, 'q1']
    const refused = [400, -32020, 'q1']
    expect(await shapeOf({ deep: { n: 42 } }, { 'mcp-param-deep-n': '42.0' })).toEqual(served)
    expect(await shapeOf({ deep: { n: 42 } }, { 'mcp-param-deep-n': '43' })).toEqual(refused)
    expect(await shapeOf({ deep: { n: 42 } }, {})).toEqual(refused)
    expect(await shapeOf({ deep: { n: null } }, {})).toEqual(served)
    expect(await shapeOf({ deep: {} }, {})).toEqual(served)
    expect(await shapeOf({ on: true }, { 'mcp-param-on': 'true' })).toEqual(served)
    expect(await shapeOf({ on: true }, { 'mcp-param-on': 'True' })).toEqual(refused)
    expect(await shapeOf({ text: '42' }, { 'mcp-param-text': '42' })).toEqual(served)
    expect(await shapeOf({ text: '42' }, { 'mcp-param-text': '42.0' })).toEqual(refused)
    expect(await shapeOf({ text: '0x10' }, { 'mcp-param-text': '16' })).toEqual(refused)
    expect(await shapeOf({ text: 'a' }, { 'mcp-param-text': 'a', 'mcp-param-unknown': 'z' })).toEqual(served)
  })
})

describe('a method', () => {
  verifies(['P6'], 'of another era is not passed to any server', async () => {
    for (const method of ['ping', 'logging/setLevel', 'resources/unsubscribe', 'tasks/list', 'Tools/list']) {
      expect([method, ...(await shape({ method, id: 7 }))]).toEqual([method, 404, -32601, 7])
      for (const fake of [legacy, modern]) expect(fake.records.count(method), method).toBe(0)
    }
    const initialize: ModernCall = {
      method: 'initialize',
      params: { protocolVersion: MODERN, capabilities: {} },
    }
    const { status, headers, answer } = await post(initialize)
    expect([status, answer.error?.code]).toEqual([404, -32601])
    expect(headers['mcp-session-id']).toBeUndefined()
  })

  verifies(
    ['P7'],
    'of discovery answers at once when no server lives, with what they would offer',
    async () => {
      await withGateway({ mcpServers: { a: CRASHING, b: await refusing() } }, async dead => {
        const before = await postModern(dead, { method: 'server/discover' })
        expect(before.status).toBe(200)
        await dead.settled()
        const { status, answer } = await postModern(dead, { method: 'server/discover' })
        expect(status).toBe(200)
        expect(answer.result).toMatchObject({
          resultType: 'complete',
          supportedVersions: expect.arrayContaining([MODERN]),
          capabilities: {
            tools: { listChanged: true },
            prompts: { listChanged: true },
            resources: { listChanged: true },
          },
          ttlMs: expect.any(Number),
          cacheScope: expect.stringMatching(/^(public|private)$/),
          instructions: expect.stringMatching(/a: [\s\S]*b: /),
        })
        expect(before.answer.result?.['capabilities']).toEqual(answer.result?.['capabilities'])
      })
    },
  )
})

describe('a result', () => {
  verifies(['P8'], 'has its type whatever the server left out, and a read has its cache fields', async () => {
    const calls: ModernCall[] = ['legacy', 'modern'].flatMap(name => [
      { method: 'prompts/get', params: { name: `${name}__p` } },
      { method: 'resources/read', params: { uri: `demo://${name}~/a` } },
      {
        method: 'completion/complete',
        params: { ref: { type: 'ref/prompt', name: `${name}__p` }, argument: { name: 'x', value: 'a' } },
      },
    ])
    for (const call of calls) {
      const { answer } = await post(call)
      expect(answer.result, JSON.stringify(call)).toMatchObject({ resultType: 'complete' })
    }
    const bare = (on: string, raw: string) => ({ on, do: { kind: 'result' as const, raw } })
    await modern.patch({
      faults: [bare('tools/call', '{"content":[]}'), bare('resources/read', '{"contents":[]}')],
    })
    try {
      const called = await post(toolCall('modern__bare'))
      expect(called.answer.result).toMatchObject({ resultType: 'complete', content: [] })
      const read = await post({ method: 'resources/read', params: { uri: 'demo://modern~/a' } })
      expect(read.answer.result).toMatchObject({
        resultType: 'complete',
        ttlMs: expect.any(Number),
        cacheScope: expect.stringMatching(/^(public|private)$/),
      })
    } finally {
      await modern.patch({ faults: [] })
    }
  })

  verifies(['P17'], 'for a missing resource is its URI, as the client asked for it', async () => {
    for (const uri of ['demo://legacy~/nope', 'demo://modern~/nope', 'nobody://has/this']) {
      const { status, answer } = await post({ method: 'resources/read', params: { uri } })
      expect([uri, status, answer.error?.code]).toEqual([uri, 200, -32602])
      expect(answer.error?.data, uri).toMatchObject({ uri })
    }
  })

  verifies(['P17'], 'never carries a code that the specification keeps for something else', async () => {
    for (const code of [-32020, -32022, -32042, -32050, -32099]) {
      for (const fake of [legacy, modern]) {
        await fake.patch({ faults: [{ on: 'tools/call', do: { kind: 'error', code, message: 'odd' } }] })
        const { answer } = await post(toolCall(fake === legacy ? 'legacy__echo' : 'modern__echo'))
        expect([code, answer.error?.code, answer.id]).toEqual([code, -32603, 'q1'])
        expect(answer.error?.message).toContain('odd')
        await fake.patch({ faults: [] })
      }
    }
  })

  verifies(
    ['P21'],
    'is the last thing on its stream, after progress under the token of the client',
    async () => {
      const call = { ...toolCall('legacy__progress', { n: 2, after: 50 }), meta: { progressToken: 'mine' } }
      const stream = await streamModern(gateway, { ...call, id: 9 })
      const messages = []
      for (let event = await stream.next(); event !== null; event = await stream.next())
        messages.push(parsed(event))
      expect(messages.map(message => message.method ?? message.id)).toEqual([
        'notifications/progress',
        'notifications/progress',
        9,
      ])
      expect(messages[0]?.params).toMatchObject({ progressToken: 'mine', progress: 1 })
      expect(messages[2]?.result?.['_meta']).toMatchObject({ [`${KEY}serverInfo`]: { name: 'holdfast' } })
    },
  )
})

describe('a listen stream', () => {
  const listen = (id: unknown, notifications: Record<string, unknown>): ModernCall => ({
    method: 'subscriptions/listen',
    id,
    params: { notifications },
  })

  verifies(
    ['P13'],
    'is one of many, each with its own filter and id, and is ended with a result when the gateway stops',
    async () => {
      await withFakes([{ script: { tools: [], prompts: [] } }], async fake => {
        const one = await startGateway({ mcpServers: { a: fake.entry } })
        try {
          await one.settled()
          await fake.records.waitFor(records => records.ofKind('stream').length > 0)
          const tools = await streamModern(one, listen('1', { toolsListChanged: true }))
          const prompts = await streamModern(
            one,
            listen(1, { promptsListChanged: true, toolsListChanged: false }),
          )
          const none = await streamModern(one, listen(2, {}))
          const tag = (id: unknown) => ({ [`${KEY}subscriptionId`]: id })
          const first = async (stream: typeof tools) => parsed(await stream.next())
          expect((await first(tools)).params).toEqual({
            _meta: tag('1'),
            notifications: { toolsListChanged: true },
          })
          expect((await first(prompts)).params).toEqual({
            _meta: tag(1),
            notifications: { promptsListChanged: true },
          })
          expect((await first(none)).params).toEqual({ _meta: tag(2), notifications: {} })

          await fake.patch({ tools: [{ name: 't' }] })
          await fake.announce('tools')
          expect(parsed(await tools.next(8_000))).toEqual({
            jsonrpc: '2.0',
            method: 'notifications/tools/list_changed',
            params: { _meta: tag('1') },
          })
          await fake.patch({ prompts: [{ name: 'p' }] })
          await fake.announce('prompts')
          expect(parsed(await prompts.next(8_000))).toMatchObject({
            method: 'notifications/prompts/list_changed',
            params: { _meta: tag(1) },
          })

          const stopped = one.stop()
          for (const [stream, id] of [
            [tools, '1'],
            [prompts, 1],
            [none, 2],
          ] as const) {
            const end = parsed(await stream.next(8_000))
            expect(end.id).toBe(id)
            expect(end.result).toMatchObject({ resultType: 'complete', _meta: tag(id) })
            expect(await stream.next()).toBeNull()
          }
          expect(await stopped).toBe(0)
        } finally {
          await one.stop()
        }
      })
    },
  )
})

describe('a closed response stream', () => {
  verifies(['P14'], 'cancels that work alone; other calls of the client go on', async () => {
    await withFakes([{ script: {} }, { script: { eras: 'modern' } }], async (old, young) => {
      await withGateway({ mcpServers: { old: old.entry, young: young.entry } }, async one => {
        await one.settled()
        for (const [name, fake] of [
          ['old', old],
          ['young', young],
        ] as const) {
          const call = (gate: string): ModernCall => ({
            ...toolCall(`${name}__progress`, { n: 2, gate }),
            meta: { progressToken: gate },
          })
          const [dropped, kept] = await Promise.all(
            ['dropped', 'kept'].map(async gate => {
              const opened = streamModern(one, call(gate))
              await fake.records.waitFor(records =>
                records.ofKind('run').some(run => run.args?.includes(gate)),
              )
              await fake.release(gate)
              return opened
            }),
          )
          expect(parsed(await dropped?.next()).method).toBe('notifications/progress')
          expect(parsed(await kept?.next()).method).toBe('notifications/progress')
          dropped?.drop()
          await fake.records.waitFor(records => records.cancelled.length === 1)
          await fake.release('kept')
          expect(parsed(await kept?.next()).method).toBe('notifications/progress')
          expect(parsed(await kept?.next()).result).toMatchObject({ resultType: 'complete' })
          expect(fake.records.cancelled).toHaveLength(1)
          await one.waitFor(status => status.upstreams.every(upstream => upstream.inFlight === 0))
        }
      })
    })
  })
})

describe('the endpoint', () => {
  verifies(['P15'], 'has no sessions for modern requests, and tells which verb it takes', async () => {
    const { headers } = await openSession(gateway)
    const stale = { 'mcp-session-id': 'f'.repeat(32), 'last-event-id': '7' }
    for (const extra of [headers, stale]) {
      const { status, headers: answered } = await post({ method: 'tools/list', headers: extra })
      expect(status).toBe(200)
      expect(answered['mcp-session-id']).toBeUndefined()
    }
    for (const method of ['GET', 'DELETE', 'PUT', 'PATCH', 'OPTIONS']) {
      const refused = await rawRequest(gateway.url, {
        method,
        headers: { accept: 'text/event-stream', 'mcp-protocol-version': MODERN },
      })
      expect([method, refused.status, refused.headers['allow']]).toEqual([method, 405, 'POST'])
    }
    for (const origin of ['https://evil.example', 'http://127.0.0.1.evil.example', 'null', 'file://']) {
      for (const verb of ['POST', 'GET', 'DELETE', 'OPTIONS']) {
        const { status, headers: answered } = await rawRequest(gateway.url, {
          method: verb,
          headers: { ...modernHeaders({ method: 'tools/list' }), origin },
        })
        expect([origin, verb, status]).toEqual([origin, verb, 403])
        expect(answered['access-control-allow-origin']).toBeUndefined()
      }
    }
  })

  verifies(
    ['P16'],
    'takes a notification with 202 and nothing else, with or without an envelope',
    async () => {
      const headers = { 'mcp-protocol-version': MODERN }
      const cancelled = notification('notifications/cancelled', { requestId: 1 })
      const made = notification('notifications/made/up')
      for (const body of [cancelled, made]) {
        const { status, text } = await rawPost(gateway.url, body, headers)
        expect([body, status, text]).toEqual([body, 202, ''])
      }
      const rows = [
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}',
        `[${cancelled}]`,
        `[${modernBody({ method: 'tools/list' })},${modernBody({ method: 'tools/list', id: 2 })}]`,
      ]
      for (const body of rows) {
        const { status, text } = await rawPost(gateway.url, body, headers)
        expect([body, status]).toEqual([body, 400])
        expect(parsed(text).error?.code, body).toBeLessThan(0)
      }
      // Not even inside a session whose version has batches may a modern request hide in one.
      const session = await openSession(gateway, '2025-03-26')
      const mixed = await session.post(`[${request('ping')},${modernBody({ method: 'tools/list' })}]`)
      expect([mixed.status, parsed(mixed.text).error?.code]).toEqual([400, -32600])
    },
  )
})

function namesIn({ result = {} }: RpcAnswer): string[] {
  return (result['tools'] as { name: string }[]).map(tool => tool.name)
}

describe('a list', () => {
  verifies(['P18'], 'has the order of the config, whichever server was there first', async () => {
    const late = { faults: [{ on: 'tools/list', calls: 1, do: { kind: 'delay' as const, ms: 1_500 } }] }
    await withFakes(
      [{ script: { ...late, builtins: ['echo', 'count'] } }, { script: { builtins: ['echo', 'count'] } }],
      async (slow, fast) => {
        await withGateway({ mcpServers: { slow: slow.entry, fast: fast.entry } }, async one => {
          const names = async () => {
            const { answer } = await postModern(one, { method: 'tools/list' })
            return namesIn(answer)
          }
          await one.waitForState('fast', 'ready')
          await one.waitFor(status => (status.upstreams[1]?.catalog.tools ?? 0) > 0)
          expect(await names()).toEqual(['fast__echo', 'fast__count'])
          await one.settled()
          const all = ['slow__echo', 'slow__count', 'fast__echo', 'fast__count']
          await one.waitFor(status => (status.upstreams[0]?.catalog.tools ?? 0) > 0)
          expect(await names()).toEqual(all)
          await fast.patch({ tools: [] })
          await fast.announce('tools')
          await fast.records.waitFor(records => records.count('tools/list') === 2)
          expect(await names()).toEqual(all)
        })
      },
    )
  })
})

describe('a stream of this era', () => {
  verifies(['P21'], 'is flushed at once, marked against buffering, and never has a session', async () => {
    const call: ModernCall = { method: 'subscriptions/listen', params: { notifications: {} }, id: 5 }
    const stream = await rawStream(gateway.url, {
      method: 'POST',
      body: modernBody(call),
      headers: modernHeaders(call),
    })
    expect(parsed(await stream.next()).method).toBe('notifications/subscriptions/acknowledged')
    expect(stream.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    expect(stream.headers['mcp-session-id']).toBeUndefined()
    stream.drop()
  })
})
