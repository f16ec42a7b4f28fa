import { describe, expect, test } from 'vitest'
import { MCP_HEADERS, rawPost, rawRequest, rawStream } from '../../test/kit/raw-http.js'
import { EMPTY_PAGE, hello, modern, openSession, rpc, withFace } from '../../test/kit/scripted-core.js'
import { GatewayError, LIMITS } from '../model/index.js'

const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']
const tool = (id: unknown, args: object = {}, meta?: object) =>
  rpc('tools/call', { name: 't', arguments: args, ...(meta ? { _meta: meta } : {}) }, id)
const cancel = (id: unknown) =>
  `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${JSON.stringify(id)},"reason":"enough"}}`
const parse = (response: { messages: readonly string[] }) => JSON.parse(response.messages.at(-1) ?? 'null')
const post = (headers: Record<string, string>, body: string) => ({
  method: 'POST',
  body,
  headers: { ...MCP_HEADERS, ...headers },
})

describe('a session', () => {
  test('is opened in each version, under an id of 128 bits, with the newest for an unknown one', async () => {
    await withFace(async ({ url }) => {
      for (const version of [...VERSIONS, '1999-01-01']) {
        const answer = await rawPost(url, hello(version))
        expect(answer.headers['mcp-session-id']).toMatch(/^[0-9a-f]{32}$/)
        const spoken = VERSIONS.includes(version) ? version : '2025-11-25'
        expect(parse(answer)).toMatchObject({
          id: 0,
          result: { protocolVersion: spoken, capabilities: { tools: {} } },
        })
      }
    })
  })

  test('is opened for requests that name an old version in their envelope, too', async () => {
    await withFace(async ({ url }) => {
      const body = rpc('initialize', {
        protocolVersion: '2025-06-18',
        _meta: { 'io.modelcontextprotocol/protocolVersion': '2025-06-18' },
      })
      expect(parse(await rawPost(url, body)).result.protocolVersion).toBe('2025-06-18')
    })
  })

  test('belongs to its scope, has to be named, speaks its version, and ends with its streams', async () => {
    await withFace(async ({ url, core }) => {
      const { session, headers } = await openSession(url)
      const ping = rpc('ping', undefined, 'p')
      expect(parse(await rawPost(url, ping, session))).toEqual({ jsonrpc: '2.0', id: 'p', result: {} })
      for (const [sent, path, status] of [
        [{}, '', 400],
        [{ 'mcp-session-id': 'f'.repeat(32) }, '', 404],
        [session, 'one', 404],
        [{ ...session, 'mcp-protocol-version': '1999-01-01' }, '', 400],
      ] as const) {
        const response = await rawPost(url + path, ping, sent)
        expect([response.status, parse(response).id]).toEqual([status, 'p'])
      }
      const stream = await rawStream(url, { method: 'GET', headers })
      expect((await rawRequest(url, { method: 'DELETE', headers })).status).toBe(204)
      expect(await stream.next()).toBeNull()
      expect((await rawPost(url, ping, session)).status).toBe(404)
      expect((await rawRequest(url, { method: 'GET', headers })).status).toBe(404)
      expect(core.listeners.size).toBe(0)
    })
  })

  test('that was idle for too long is gone, and so is what it listened to', async () => {
    await withFace(async ({ url, core, time }) => {
      const { session } = await openSession(url)
      expect(core.listeners.size).toBe(1)
      time.advance(LIMITS.sessionIdleMs)
      expect((await rawPost(url, rpc('ping'), session)).status).toBe(404)
      await rawPost(url, hello())
      expect(core.listeners.size).toBe(0)
    })
  })

  test('is refused while the gateway stops', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      core.draining = true
      for (const [body, headers] of [
        [hello(), {}],
        [tool(3), session],
        [rpc('tools/list', {}, 3), session],
      ] as const) {
        const response = await rawPost(url, body, headers)
        expect([response.status, parse(response).error.code]).toEqual([503, 42901])
      }
      expect((await rawPost(url, cancel(3), session)).status).toBe(202)
    })
  })
})

describe('a request in a session', () => {
  test('may have each id once at a time, lists included, and ends without an answer when it is cancelled', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      let listed: (page: typeof EMPTY_PAGE) => void = () => undefined
      core.list = () =>
        new Promise(resolve => {
          listed = resolve
        })
      const list = rawPost(url, rpc('tools/list', {}, 'a'), session)
      const running = rawPost(url, tool(5), session)
      const each = await core.next()
      for (const id of ['a', 5]) {
        await expect.poll(async () => parse(await rawPost(url, tool(id), session)).error?.code).toBe(-32600)
        expect((await rawPost(url, cancel(id), session)).status).toBe(202)
      }
      expect(await each.cancelled).toBe('enough')
      listed(EMPTY_PAGE)
      expect([(await list).text, (await running).text]).toEqual(['', ''])
      core.always = '{}'
      expect(parse(await rawPost(url, tool(5), session)).result).toEqual({})
    })
  })

  test('is refused over the limit of what one client may have in flight', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url, '2025-03-26')
      const batches = Math.ceil(LIMITS.inFlightPerClient / LIMITS.batch)
      for (let i = 0; i < batches; i += 1) {
        const count = Math.min(LIMITS.batch, LIMITS.inFlightPerClient - i * LIMITS.batch)
        const calls = Array.from({ length: count }, (_, at) => tool(i * LIMITS.batch + at))
        rawPost(url, `[${calls.join()}]`, session).catch(() => undefined)
      }
      await expect.poll(() => core.calls).toBe(LIMITS.inFlightPerClient)
      expect(parse(await rawPost(url, tool('more'), session)).result).toMatchObject({
        isError: true,
        _meta: { 'dev.holdfast/failure': { kind: 'overloaded' } },
      })
    })
  })

  test('goes on for a while when its client is gone, and is then given up', async () => {
    await withFace(async ({ url, core, time }) => {
      const { session } = await openSession(url)
      const start = async (id: number) => {
        const opening = rawStream(url, post(session, tool(id, {}, { progressToken: id })))
        const each = await core.next()
        each.progress(`{"progressToken":1,"progress":1}`)
        ;(await opening).drop()
        return each
      }
      // The sweep of sessions and the beat of open answers have a timer each.
      const kept = await start(1)
      await expect.poll(() => time.timers).toBe(3)
      kept.result('{}')
      time.advance(LIMITS.detachedMs)
      expect(kept.isCancelled).toBe(false)
      await expect.poll(() => time.timers).toBe(1)
      const given = await start(2)
      await expect.poll(() => time.timers).toBe(3)
      time.advance(LIMITS.detachedMs)
      expect(await given.cancelled).toBe('the client is gone')
    })
  })

  test('stores the log level, which later calls carry', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      expect(parse(await rawPost(url, rpc('logging/setLevel', { level: 'loud' }), session)).error.code).toBe(
        -32602,
      )
      expect(parse(await rawPost(url, rpc('logging/setLevel', { level: 'info' }), session)).result).toEqual(
        {},
      )
      const answer = rawPost(url, tool(1), session)
      const each = await core.next()
      expect(each.call.context.logLevel).toBe('info')
      each.result('{"n":12345678901234567890}')
      expect((await answer).text).toBe('{"jsonrpc":"2.0","id":1,"result":{"n":12345678901234567890}}')
    })
  })

  test('for what was never offered is refused in every scope, and passes on what one server may know', async () => {
    await withFace(async ({ url, core }) => {
      const { headers } = await rawPost(`${url}one`, hello())
      const session = { 'mcp-session-id': String(headers['mcp-session-id']) }
      core.always = '{}'
      for (const method of ['server/discover', 'subscriptions/listen']) {
        const answer = parse(await rawPost(`${url}one`, rpc(method, { uri: 'a://b' }), session))
        expect([method, answer.error?.code]).toEqual([method, -32601])
      }
      expect(core.calls).toBe(0)
      expect(parse(await rawPost(`${url}one`, rpc('made/up'), session)).result).toEqual({})
    })
  })

  test('for a resource that is not there is told so in the code of its era, under the public URI', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      const read = rpc('resources/read', { uri: 'a://public' })
      const first = rawPost(url, read, session)
      ;(await core.next()).error(
        '{"code":-32602,"message":"no","data":{"uri":"a://native","n":1.0}}',
        'modern',
      )
      expect((await first).text).toContain(
        '"error":{"code":-32002,"message":"no","data":{"uri":"a://public","n":1.0}}',
      )
      const second = rawPost(url, read, session)
      ;(await core.next()).fail(new GatewayError('NOT_FOUND', 'Unknown resource: a://public'))
      expect(parse(await second).error).toMatchObject({ code: -32002, data: { uri: 'a://public' } })
      const old = modern('resources/read', { uri: 'a://public' })
      const third = rawPost(url, old.body, old.headers)
      ;(await core.next()).error('{"code":-32002,"message":"no"}')
      expect(parse(await third).error).toMatchObject({ code: -32602, data: { uri: 'a://public' } })
    })
  })
})

describe('a batch', () => {
  test('is answered by one array, without what was cancelled, and by nothing when nothing is left', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url, '2025-03-26')
      const both = rawPost(url, `[${tool(1)},${tool(2)},{"jsonrpc":"2.0","method":"x"}]`, session)
      const [one] = [await core.next(), await core.next()]
      await rawPost(url, cancel(2), session)
      one?.result('{"a":1}')
      expect((await both).text).toBe('[{"jsonrpc":"2.0","id":1,"result":{"a":1}}]')
      const none = rawPost(url, `[${tool(3)}]`, session)
      await core.next()
      await rawPost(url, cancel(3), session)
      expect((await none).text).toBe('')
      expect((await rawPost(url, '[{"jsonrpc":"2.0","method":"x"}]', session)).status).toBe(202)
    })
  })

  test('is refused in other versions, over its limit, empty, and with a stateless request in it', async () => {
    await withFace(async ({ url, core }) => {
      const of = async (version: string, body: string) => {
        const { session } = await openSession(url, version)
        const response = await rawPost(url, body, session)
        return [response.status, parse(response).error.code]
      }
      for (const version of VERSIONS.filter(each => each !== '2025-03-26')) {
        expect(await of(version, `[${tool(1)}]`)).toEqual([400, -32600])
      }
      const many = Array.from({ length: LIMITS.batch + 1 }, (_, id) => rpc('ping', undefined, id))
      expect(await of('2025-03-26', `[${many.join()}]`)).toEqual([400, -32600])
      expect(await of('2025-03-26', '[]')).toEqual([400, -32600])
      expect(await of('2025-03-26', `[${tool(1)},${modern('tools/call', { name: 't' }).body}]`)).toEqual([
        400, -32600,
      ])
      expect(core.calls).toBe(0)
    })
  })

  test('whose client is gone is given up after a while', async () => {
    await withFace(async ({ url, core, time }) => {
      const { session } = await openSession(url, '2025-03-26')
      const opening = rawStream(url, post(session, `[${tool(1, {}, { progressToken: 1 })},${tool(2)}]`))
      const [one, two] = [await core.next(), await core.next()]
      one?.progress('{"progressToken":1,"progress":1}')
      ;(await opening).drop()
      await expect.poll(() => time.timers).toBe(3)
      time.advance(LIMITS.detachedMs)
      expect([one?.isCancelled, two?.isCancelled]).toEqual([true, true])
    })
  })
})

describe('the stream of a session', () => {
  const changed = (list: string) => `{"jsonrpc":"2.0","method":"notifications/${list}/list_changed"}`

  test('tells changes, also those from before it was opened, each list at most once in a while', async () => {
    await withFace(async ({ url, core, time }) => {
      const { headers } = await openSession(url)
      core.change('tools', 'tools')
      time.advance(0)
      const stream = await rawStream(url, { method: 'GET', headers })
      expect(await stream.next()).toBe(changed('tools'))
      core.change('resources', 'resourceTemplates')
      time.advance(1)
      expect(await stream.next()).toBe(changed('resources'))
      core.change('resources')
      time.advance(4_998)
      core.change('prompts')
      time.advance(0)
      expect(await stream.next()).toBe(changed('prompts'))
      time.advance(2)
      expect(await stream.next()).toBe(changed('resources'))
    })
  })

  test('says nothing before the client is initialized', async () => {
    await withFace(async ({ url, core }) => {
      await rawPost(url, hello())
      expect(core.listeners.size).toBe(0)
    })
  })

  test('ends when the gateway does', async () => {
    await withFace(async ({ url, face }) => {
      const { headers } = await openSession(url)
      const stream = await rawStream(url, { method: 'GET', headers })
      face.close()
      expect(await stream.next()).toBeNull()
    })
  })
})

describe('a question of a server', () => {
  const ELICITATION = { elicitation: {} }
  const wanted = (state: string) =>
    `{"resultType":"input_required","requestState":"${state}","inputRequests":{"k":{"method":"elicitation/create","params":{"m":1.0}}}}`

  test('of the modern era is put to the client live, and its answer sent with the exact state', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url, '2025-11-25', ELICITATION)
      const opening = rawStream(url, post(session, tool(1, { big: 1 })))
      ;(await core.next()).result(wanted('s\\u0031'), 'modern')
      const stream = await opening
      const question = (await stream.next()) ?? ''
      expect(question).toContain('"params":{"m":1.0}')
      const answer = `{"jsonrpc":"2.0","id":${JSON.parse(question).id},"result":{"action":"accept","n":1E400}}`
      expect((await rawPost(url, answer, session)).status).toBe(202)
      const again = await core.next()
      expect(again.params).toContain('"inputResponses":{"k":{"action":"accept","n":1E400}}')
      expect(again.params).toContain('"requestState":"s\\u0031"')
      again.result('{"content":[],"resultType":"complete","ttlMs":1}', 'modern')
      expect(await stream.next()).toBe('{"jsonrpc":"2.0","id":1,"result":{"content":[]}}')
    })
  })

  test('ends the call when it cannot be asked, is refused, or comes back for ever', async () => {
    await withFace(async ({ url, core }) => {
      const deaf = (await openSession(url)).session
      const first = rawPost(url, tool(1), deaf)
      ;(await core.next()).result(wanted('s'), 'modern')
      expect(parse(await first).result).toMatchObject({ isError: true })
      const { session } = await openSession(url, '2025-11-25', ELICITATION)
      const plain = rawPost(url, tool(1), { ...session, accept: 'application/json' })
      ;(await core.next()).result(wanted('s'), 'modern')
      expect(parse(await plain).result).toMatchObject({ isError: true })
      const stream = rawStream(url, post(session, rpc('prompts/get', { name: 'p' }, 2)))
      ;(await core.next()).result(wanted('s'), 'modern')
      const { id } = JSON.parse((await (await stream).next()) ?? '')
      await rawPost(url, `{"jsonrpc":"2.0","id":${id},"error":{"code":-1,"message":"no"}}`, session)
      expect(JSON.parse((await (await stream).next()) ?? '').error).toMatchObject({ code: 40301 })
    })
  })

  test('is asked at most eight times; a state alone waits longer each time', async () => {
    await withFace(async ({ url, core, time }) => {
      const { session } = await openSession(url)
      const answer = rawPost(url, tool(1), session)
      for (let round = 0; round < 8; round += 1) {
        ;(await core.next()).result('{"resultType":"input_required","requestState":"s"}', 'modern')
        time.advance(250 * 2 ** round - 1)
        expect(core.calls).toBe(round + 1)
        time.advance(1)
      }
      ;(await core.next()).result('{"resultType":"input_required","requestState":"s"}', 'modern')
      expect(parse(await answer).result).toMatchObject({ isError: true })
    })
  })

  test('of the legacy era goes the same way, and is withdrawn with the call that asked', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url, '2025-11-25', ELICITATION)
      const opening = rawStream(url, post(session, tool(1)))
      const each = await core.next()
      const replies: string[] = []
      const ask = (method: string) =>
        each.call.context.onAsk?.({
          method,
          params: null,
          respond: reply => replies.push('error' in reply ? 'error' : Buffer.from(reply.result).toString()),
        })
      ask('sampling/createMessage')
      ask('elicitation/create')
      ask('elicitation/create')
      const stream = await opening
      const { id } = JSON.parse((await stream.next()) ?? '')
      await rawPost(url, `{"jsonrpc":"2.0","id":${id},"result":{"a":1.0}}`, session)
      each.result('{}')
      expect(replies).toEqual(['error', '{"a":1.0}', 'error'])
    })
  })
})
