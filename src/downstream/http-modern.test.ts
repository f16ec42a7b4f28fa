import { createConnection } from 'node:net'
import { describe, expect, test } from 'vitest'
import { MCP_HEADERS, rawPost, rawRequest, rawStream } from '../../test/kit/raw-http.js'
import { EMPTY_PAGE, KEY, META, MODERN, modern, rpc, withFace } from '../../test/kit/scripted-core.js'
import { GatewayError, LIMITS } from '../model/index.js'

const call = (args: object = {}, id: unknown = 'q', meta: object = {}) =>
  modern('tools/call', { name: 't', arguments: args }, id, meta)
const parse = (response: { messages: readonly string[] }) => JSON.parse(response.messages.at(-1) ?? 'null')

describe('a request that cannot be served', () => {
  test('is refused with the status, code and id that say why, and reaches nobody', async () => {
    const { body, headers } = call()
    const without = (...keys: string[]) =>
      Object.fromEntries(Object.entries(headers).filter(([key]) => !keys.includes(key)))
    const meta = (value: object) => rpc('tools/call', { name: 't', _meta: value }, 'q')
    const rows: [
      what: string,
      body: string | Buffer,
      headers: Record<string, string>,
      number,
      number,
      unknown,
    ][] = [
      ['garbage', '{', headers, 400, -32700, null],
      ['broken UTF-8', Buffer.from([0x22, 0xff, 0x22]), headers, 400, -32700, null],
      ['a content type', body, { ...headers, 'content-type': 'text/plain' }, 415, -32600, null],
      ['an accept', body, { ...headers, accept: 'image/png' }, 406, -32600, null],
      ['an array', `[${body}]`, headers, 400, -32600, null],
      ['no version header', body, without('mcp-protocol-version'), 400, -32020, 'q'],
      ['no method header', body, without('mcp-method'), 400, -32020, 'q'],
      ['no name header', body, without('mcp-name'), 400, -32020, 'q'],
      ['another name', body, { ...headers, 'mcp-name': 'u' }, 400, -32020, 'q'],
      ['a broken name', body, { ...headers, 'mcp-name': '=?base64?!?=' }, 400, -32020, 'q'],
      ['no capabilities', meta({ [`${KEY}protocolVersion`]: MODERN }), headers, 400, -32602, 'q'],
      ['a log level', meta({ ...META, [`${KEY}logLevel`]: 'loud' }), headers, 400, -32602, 'q'],
      ['no envelope', rpc('tools/list', {}, 'q'), headers, 400, -32602, 'q'],
      ['no session', rpc('tools/list', {}, 'q'), {}, 400, -32600, 'q'],
      ['an answer', '{"jsonrpc":"2.0","id":3,"result":{}}', headers, 400, -32602, 3],
    ]
    await withFace(async ({ core, url }) => {
      for (const [what, sent, sentHeaders, status, code, id] of rows) {
        const response = await rawPost(url, sent, sentHeaders)
        expect([what, response.status, parse(response).error.code, parse(response).id]).toEqual([
          what,
          status,
          code,
          id,
        ])
      }
      expect(core.calls).toBe(0)
    })
  })

  test('is told the versions when it names an unknown one', async () => {
    await withFace(async ({ url }) => {
      const body = rpc('tools/list', { _meta: { ...META, [`${KEY}protocolVersion`]: '2031-01-01' } }, 'q')
      const response = await rawPost(url, body, { 'mcp-protocol-version': '2031-01-01' })
      expect(response.status).toBe(400)
      expect(parse(response)).toMatchObject({
        id: 'q',
        error: {
          code: -32022,
          data: {
            supported: [MODERN, '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'],
            requested: '2031-01-01',
          },
        },
      })
    })
  })

  test('is 404 for methods that the era does not have, in every scope', async () => {
    await withFace(async ({ url, core }) => {
      for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe']) {
        for (const path of ['', 'one']) {
          const { body, headers } = modern(method)
          const response = await rawPost(url + path, body, headers)
          expect([method, response.status, parse(response).error.code]).toEqual([method, 404, -32601])
        }
      }
      const unknown = modern('made/up')
      expect((await rawPost(url, unknown.body, unknown.headers)).status).toBe(404)
      core.always = '{}'
      expect((await rawPost(`${url}one`, unknown.body, unknown.headers)).status).toBe(200)
    })
  })

  test('is 405 with Allow for other verbs', async () => {
    await withFace(async ({ url }) => {
      for (const method of ['GET', 'DELETE', 'PUT', 'OPTIONS']) {
        const { status, headers } = await rawRequest(url, { method })
        expect([method, status, headers['allow']]).toEqual([method, 405, 'POST'])
      }
    })
  })

  test('gets its 413 to read, even when it sends all of its body first, and the connection stays', async () => {
    await withFace(async ({ url }) => {
      const body = Buffer.alloc(LIMITS.bodyBytes * 2, 0x20)
      const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
      const socket = createConnection(Number(new URL(url).port), '127.0.0.1')
      socket.pause()
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.write(Buffer.concat([Buffer.from(head), body]), () => resolve())
      })
      socket.write('PUT / HTTP/1.1\r\nhost: x\r\n\r\n')
      let text = ''
      await new Promise<void>(resolve => {
        socket.resume()
        socket.on('data', chunk => {
          text += chunk
          if (text.includes('405')) resolve()
        })
      })
      expect(text).toMatch(/^HTTP\/1\.1 413 /)
      socket.destroy()
    })
  })

  test('is 503 with a time to come back while the gateway stops; what answers a running call is still taken', async () => {
    await withFace(async ({ core, url }) => {
      core.draining = true
      for (const { body, headers } of [call(), modern('tools/list'), modern('server/discover')]) {
        const response = await rawPost(url, body, headers)
        expect([response.status, response.headers['retry-after']]).toEqual([503, '5'])
        expect(parse(response)).toMatchObject({
          id: 'q',
          error: { code: 42901, data: { kind: 'overloaded' } },
        })
      }
      expect(
        (await rawPost(url, '{"jsonrpc":"2.0","method":"x"}', { 'mcp-protocol-version': MODERN })).status,
      ).toBe(202)
      expect(core.calls).toBe(0)
    })
  })

  test('does not end the gateway when the fault is ours', async () => {
    await withFace(async ({ core, url, time }) => {
      const { body, headers } = call()
      core.headerParams = () => {
        throw new Error('boom')
      }
      const response = await rawPost(url, body, headers)
      expect([response.status, parse(response).error.code]).toEqual([500, -32603])
      time.advance(LIMITS.keepAliveMs * 2)
      core.headerParams = () => []
      core.always = '{}'
      expect((await rawPost(url, body, headers)).status).toBe(200)
    })
  })
})

describe('a notification', () => {
  test('is taken without an envelope, and with a session id that means nothing here', async () => {
    await withFace(async ({ url }) => {
      const cancelled = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
      for (const headers of [{}, { 'mcp-session-id': 'gone' }] as Record<string, string>[]) {
        const { status, text } = await rawPost(url, cancelled, { 'mcp-protocol-version': MODERN, ...headers })
        expect([status, text]).toEqual([202, ''])
      }
    })
  })
})

describe('mirrored arguments', () => {
  test('are compared as what they are: numbers as numbers, text as text', async () => {
    await withFace(async ({ core, url }) => {
      core.always = '{}'
      core.params = [
        { path: ['n'], header: 'N' },
        { path: ['in', 'deep'], header: 'Deep' },
      ]
      const status = async (args: object, sent: Record<string, string>) => {
        const { body, headers } = call(args)
        const response = await rawPost(url, body, { ...headers, ...sent })
        return response.status
      }
      expect(await status({ n: 42 }, { 'mcp-param-n': '42.0' })).toBe(200)
      expect(await status({ n: 42 }, { 'mcp-param-n': '0x2a' })).toBe(400)
      expect(await status({ n: '42' }, { 'mcp-param-n': '42.0' })).toBe(400)
      expect(await status({ n: null }, {})).toBe(200)
      expect(await status({}, {})).toBe(200)
      expect(await status({ n: true, in: { deep: 'ä' } }, { 'mcp-param-n': 'true' })).toBe(400)
      const encoded = `=?base64?${Buffer.from('ä').toString('base64')}?=`
      expect(await status({ in: { deep: 'ä' } }, { 'mcp-param-deep': encoded })).toBe(200)
      expect(await status({ in: { deep: 'ä' } }, { 'mcp-param-deep': 'ä' })).toBe(400)
    })
  })
})

describe('an answer', () => {
  test('is one JSON body with every byte of the result, and our name beside the server', async () => {
    await withFace(async ({ core, url }) => {
      const { body, headers } = call({ big: 1 }, 12345678901)
      const answer = rawPost(url, body, headers)
      const result = `{"content":[],"n":12345678901234567890,"_meta":{"a":1E400,"${KEY}serverInfo":{"name":"up"}},"resultType":"complete"}`
      ;(await core.next()).result(result, 'modern')
      const { status, text, headers: got } = await answer
      expect(status).toBe(200)
      expect(got).toMatchObject({
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(text)),
      })
      expect(text).toContain(
        '{"jsonrpc":"2.0","id":12345678901,"result":{"content":[],"n":12345678901234567890,',
      )
      expect(text).toContain('"a":1E400')
      expect(JSON.parse(text).result._meta).toMatchObject({
        [`${KEY}serverInfo`]: { name: 'holdfast' },
        'dev.holdfast/server': { name: 'up' },
      })
    })
  })

  test('becomes a stream at the first progress, under the own token of the client, and ends it', async () => {
    await withFace(async ({ core, url }) => {
      const { body, headers } = call({}, 'q', { progressToken: 'mine' })
      const stream = await Promise.all([
        rawStream(url, { method: 'POST', body, headers: { ...MCP_HEADERS, ...headers } }),
        core.next().then(each => {
          each.progress('{"progressToken":99,"progress":1.0}')
          each.result('{"content":[]}')
          each.progress('{"progressToken":99,"progress":2}')
        }),
      ]).then(([opened]) => opened)
      expect(stream.headers).toMatchObject({ 'x-accel-buffering': 'no', 'cache-control': 'no-cache' })
      expect(await stream.next()).toBe(
        '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine","progress":1.0}}',
      )
      expect(JSON.parse((await stream.next()) ?? '').result.resultType).toBe('complete')
      expect(await stream.next()).toBeNull()
    })
  })

  test('carries no progress to a client that gave no token', async () => {
    await withFace(async ({ core, url }) => {
      const { body, headers } = call()
      const answer = rawPost(url, body, headers)
      const each = await core.next()
      expect([each.call.context.onProgress, each.call.context.onLog, each.call.context.onAsk]).toEqual([
        undefined,
        undefined,
        undefined,
      ])
      each.result('{}')
      await answer
    })
  })

  test('that takes long is kept alive, for clients that take a stream', async () => {
    await withFace(async ({ core, url, time }) => {
      const { body, headers } = call()
      const opening = rawStream(url, { method: 'POST', body, headers: { ...MCP_HEADERS, ...headers } })
      const each = await core.next()
      time.advance(LIMITS.keepAliveMs)
      const stream = await opening
      expect(stream.headers['content-type']).toBe('text/event-stream')
      each.result('{}')
      expect(JSON.parse((await stream.next()) ?? '').id).toBe('q')
      expect(stream.text).toContain(': keep-alive')
      const plain = rawPost(url, body, { ...headers, accept: 'application/json' })
      const other = await core.next()
      time.advance(LIMITS.keepAliveMs * 2)
      other.result('{}')
      expect((await plain).headers['content-type']).toBe('application/json')
    })
  })

  test('is not wanted any more when the client goes away', async () => {
    await withFace(async ({ core, url, time }) => {
      const { body, headers } = call({}, 'q', { progressToken: 1 })
      const opening = rawStream(url, { method: 'POST', body, headers: { ...MCP_HEADERS, ...headers } })
      const each = await core.next()
      each.progress('{"progressToken":1,"progress":1}')
      ;(await opening).drop()
      expect(await each.cancelled).toBe('the client closed its stream')
      time.advance(LIMITS.keepAliveMs * 2)
    })
  })

  test('tells a failure in the form of the method', async () => {
    await withFace(async ({ core, url }) => {
      const down = new GatewayError('UPSTREAM_UNAVAILABLE', 'up is unavailable.', { upstream: 'up' })
      const tool = call()
      const first = rawPost(url, tool.body, tool.headers)
      ;(await core.next()).fail(down)
      expect(parse(await first).result).toMatchObject({
        isError: true,
        resultType: 'complete',
        content: [{ type: 'text', text: 'up is unavailable.' }],
        _meta: { 'dev.holdfast/failure': { kind: 'unavailable', upstream: 'up' } },
      })
      const read = modern('resources/read', { uri: 'a://b' })
      const second = rawPost(url, read.body, read.headers)
      ;(await core.next()).fail(down)
      expect(parse(await second).error).toMatchObject({ code: 50301, data: { upstream: 'up' } })
    })
  })
})

describe('a list', () => {
  test('carries the items byte for byte, the cache fields, and who is missing only when somebody is', async () => {
    await withFace(async ({ core, url }) => {
      const { body, headers } = modern('tools/list', { cursor: 'c' })
      const seen: unknown[] = []
      core.list = (kind, _scope, cursor) => {
        seen.push(kind, cursor)
        return Promise.resolve({
          ...EMPTY_PAGE,
          items: [Buffer.from('{"name":"t","x":1.00}')],
          nextCursor: 'd',
        })
      }
      const full = await rawPost(url, body, headers)
      expect(seen).toEqual(['tools', 'c'])
      expect(full.text).toContain('{"tools":[{"name":"t","x":1.00}],"nextCursor":"d"')
      expect(parse(full).result).toMatchObject({ resultType: 'complete', ttlMs: 7, cacheScope: 'private' })
      expect(full.text).not.toContain('dev.holdfast/unavailable')
      const missing = { upstream: 'b', state: 'backoff', reason: 'r', since: 's', stale: false }
      core.list = () => Promise.resolve({ ...EMPTY_PAGE, unavailable: [missing] })
      const partial = parse(await rawPost(url, body, headers))
      expect(partial.result._meta['dev.holdfast/unavailable']).toEqual([missing])
    })
  })

  test('refuses a cursor that is none, in every way in which it can be none', async () => {
    await withFace(async ({ core, url }) => {
      const odd = modern('tools/list', { cursor: 5 })
      expect(parse(await rawPost(url, odd.body, odd.headers)).error.code).toBe(-32602)
      core.list = () => Promise.reject(new GatewayError('INVALID_PARAMS', 'That cursor is not ours.'))
      const foreign = modern('tools/list', { cursor: 'x' })
      expect(parse(await rawPost(url, foreign.body, foreign.headers)).error.code).toBe(-32602)
    })
  })
})

describe('a subscription', () => {
  const listen = modern(
    'subscriptions/listen',
    { notifications: { toolsListChanged: true, resourcesListChanged: true, other: true } },
    7,
  )
  const sent = { method: 'POST', body: listen.body, headers: { ...MCP_HEADERS, ...listen.headers } }
  const tagged = { _meta: { [`${KEY}subscriptionId`]: 7 } }

  test('is acknowledged first, told what it asked for, at most once in a while, and ends gracefully', async () => {
    await withFace(async ({ core, face, url, time }) => {
      const stream = await rawStream(url, sent)
      const next = async () => JSON.parse((await stream.next()) ?? 'null')
      expect(await next()).toEqual({
        jsonrpc: '2.0',
        method: 'notifications/subscriptions/acknowledged',
        params: { ...tagged, notifications: { toolsListChanged: true, resourcesListChanged: true } },
      })
      core.change('prompts', 'resources', 'resourceTemplates', 'resources')
      time.advance(0)
      core.change('resources')
      time.advance(4_999)
      core.change('tools')
      time.advance(0)
      time.advance(1)
      const methods = [await next(), await next(), await next()].map(({ method, params }) => {
        expect(params).toEqual(tagged)
        return method
      })
      expect(methods).toEqual([
        'notifications/resources/list_changed',
        'notifications/tools/list_changed',
        'notifications/resources/list_changed',
      ])
      face.close()
      expect(await next()).toMatchObject({ id: 7, result: { resultType: 'complete', _meta: tagged._meta } })
      expect(await stream.next()).toBeNull()
      expect([core.listeners.size, time.timers]).toEqual([0, 0])
    })
  })

  test('leaves nothing behind when its client goes away', async () => {
    await withFace(async ({ core, url }) => {
      const stream = await rawStream(url, sent)
      await stream.next()
      stream.drop()
      await expect.poll(() => core.listeners.size).toBe(0)
    })
  })

  test('needs a client that takes a stream', async () => {
    await withFace(async ({ core, url }) => {
      const response = await rawPost(url, listen.body, { ...listen.headers, accept: 'application/json' })
      expect([response.status, parse(response).id, core.listeners.size]).toEqual([406, 7, 0])
    })
  })
})
