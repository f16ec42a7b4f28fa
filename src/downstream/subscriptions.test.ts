import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { MCP_HEADERS, rawPost, rawStream } from '../../test/kit/raw-http.js'
import {
  hello,
  KEY,
  manualHost,
  modern,
  openSession,
  rpc,
  ScriptedCore,
  withFace,
} from '../../test/kit/scripted-core.js'
import { verifies } from '../../test/kit/verifies.js'
import { GatewayError, LIMITS, type Outcome } from '../model/index.js'
import { createStdioFace } from './index.js'

const parse = ({ text }: { text: string }) => JSON.parse(text === '' ? 'null' : text)
const updated = (uri: string) => ({
  jsonrpc: '2.0',
  method: 'notifications/resources/updated',
  params: { uri },
})
const refused: Outcome = {
  kind: 'never-sent',
  error: new GatewayError('NOT_FOUND', 'Unknown resource: a://x'),
}
const listenFor = (notifications: object, id: unknown = 7) => {
  const { body, headers } = modern('subscriptions/listen', { notifications }, id)
  return { method: 'POST', body, headers: { ...MCP_HEADERS, ...headers } }
}

describe('a session', () => {
  verifies(['SUB1'], 'is told about the resources that it subscribed to, and no other one is', async () => {
    await withFace(async ({ url, core }) => {
      const one = await openSession(url)
      const two = await openSession(url)
      const open = ({ headers }: typeof one) => rawStream(url, { method: 'GET', headers })
      const [stream, other] = [await open(one), await open(two)]
      const ask = async (method: string, session = one.session) =>
        parse(await rawPost(url, rpc(method, { uri: 'a://x' }), session))
      expect(await ask('resources/subscribe')).toEqual({ jsonrpc: '2.0', id: 1, result: {} })
      expect((await ask('resources/subscribe')).result).toEqual({})
      expect(core.subscriptions.size).toBe(1)
      core.update('a://x', { uri: 'a://x/part', n: 1 })
      expect(JSON.parse((await stream.next()) ?? '')).toEqual({
        ...updated('a://x/part'),
        params: { uri: 'a://x/part', n: 1 },
      })
      expect((await ask('resources/unsubscribe')).result).toEqual({})
      expect((await ask('resources/unsubscribe')).result).toEqual({})
      expect(core.subscriptions.size).toBe(0)
      core.change('tools')
      expect(other.text).toBe('')
    })
  })

  test('that has no stream is told once it has one, of each resource once', async () => {
    await withFace(async ({ url, core }) => {
      const { session, headers } = await openSession(url)
      for (const uri of ['a://x', 'a://y', 'a://z'])
        await rawPost(url, rpc('resources/subscribe', { uri }), session)
      core.update('a://x')
      core.update('a://x')
      core.update('a://y', { uri: 'a://y/1' })
      core.update('a://y', { uri: 'a://y/2' })
      core.update('a://z')
      await rawPost(url, rpc('resources/unsubscribe', { uri: 'a://z' }), session)
      const stream = await rawStream(url, { method: 'GET', headers })
      const told = [await stream.next(), await stream.next()].map(text => JSON.parse(text ?? ''))
      expect(told).toEqual([updated('a://x'), updated('a://y')])
    })
  })

  test('follows nothing any more once it has ended', async () => {
    await withFace(async ({ url, core }) => {
      const { session, headers } = await openSession(url)
      await rawPost(url, rpc('resources/subscribe', { uri: 'a://x' }), session)
      await rawStream(url, { method: 'DELETE', headers })
      expect(core.subscriptions.size).toBe(0)
    })
  })

  test('is told why a subscription cannot be, in the codes of its era', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      const ask = async (params: object) =>
        parse(await rawPost(url, rpc('resources/subscribe', params), session)).error
      expect(await ask({})).toMatchObject({ code: -32602 })
      core.refusal = refused
      expect(await ask({ uri: 'a://x' })).toMatchObject({ code: -32002, data: { uri: 'a://x' } })
      core.refusal = { kind: 'never-sent', error: new GatewayError('METHOD_NOT_FOUND', 'a: it offers none') }
      expect(await ask({ uri: 'a://x' })).toMatchObject({ code: -32601, message: 'a: it offers none' })
      const error = Buffer.from('{"code":-32602,"message":"no","data":1.0}')
      core.refusal = { kind: 'answered', reply: { error }, era: 'legacy', upstream: 'a' }
      const raw = await rawPost(url, rpc('resources/subscribe', { uri: 'a://x' }), session)
      expect(raw.text).toContain('"error":{"code":-32602,"message":"no","data":1.0}')
      core.refusal = null
      expect(await ask({ uri: 'a://x' })).toBeUndefined()
    })
  })

  verifies(['SUB2'], 'subscribes to so many resources, under URIs of such a length', async () => {
    await withFace(async ({ url, core }) => {
      const { session } = await openSession(url)
      const ask = async (method: string, uri: string) =>
        parse(await rawPost(url, rpc(method, { uri }), session)).error
      for (let i = 0; i < LIMITS.subscriptionsPerClient; i += 1)
        expect(await ask('resources/subscribe', `a://${i}`)).toBeUndefined()
      const over = await ask('resources/subscribe', 'a://more')
      expect(over).toMatchObject({ code: 42901, data: { kind: 'overloaded' } })
      expect(over.message).toContain('1000 resources')
      expect(await ask('resources/subscribe', 'a://0')).toBeUndefined()
      await ask('resources/unsubscribe', 'a://0')
      expect(await ask('resources/subscribe', 'a://more')).toBeUndefined()
      await ask('resources/unsubscribe', 'a://1')
      const long = `a://${'x'.repeat(LIMITS.subscribedUri)}`
      expect(await ask('resources/subscribe', long)).toMatchObject({ code: -32602 })
      expect(core.subscriptions.size).toBe(LIMITS.subscriptionsPerClient - 1)
    })
  })
})

describe('a stateless stream', () => {
  verifies(
    ['SUB1'],
    'is told what its filter asked for and the gateway honours, under its own id',
    async () => {
      await withFace(async ({ url, core }) => {
        const tag = (id: unknown) => ({ [`${KEY}subscriptionId`]: id })
        const stream = await rawStream(url, listenFor({ resourceSubscriptions: ['a://x', 'a://y', 'a://x'] }))
        const other = await rawStream(url, listenFor({ toolsListChanged: true }, 'o'))
        expect(JSON.parse((await stream.next()) ?? '')).toMatchObject({
          method: 'notifications/subscriptions/acknowledged',
          params: { _meta: tag(7), notifications: { resourceSubscriptions: ['a://x', 'a://y'] } },
        })
        await other.next()
        core.update('a://y', { uri: 'a://y', _meta: { mine: 1 } })
        core.update('a://z')
        expect(JSON.parse((await stream.next()) ?? '')).toEqual({
          ...updated('a://y'),
          params: { uri: 'a://y', _meta: { mine: 1, ...tag(7) } },
        })
        core.update('a://x')
        expect(JSON.parse((await stream.next()) ?? '').params).toEqual({ uri: 'a://x', _meta: tag(7) })
        expect(other.text).not.toContain('updated')
        stream.drop()
        await expect.poll(() => core.subscriptions.size).toBe(0)
      })
    },
  )

  test('is acknowledged without what cannot be honoured', async () => {
    await withFace(async ({ url, core }) => {
      core.refusal = refused
      const wanted = { toolsListChanged: true, resourceSubscriptions: ['a://x'] }
      const stream = await rawStream(url, listenFor(wanted))
      expect(JSON.parse((await stream.next()) ?? '').params.notifications).toEqual({ toolsListChanged: true })
    })
  })

  test('is acknowledged before it is told what came in the meantime', async () => {
    await withFace(async ({ url, core }) => {
      const settle: (() => void)[] = []
      const subscribe = core.subscribe.bind(core)
      core.subscribe = (scope, uri, caller, events) =>
        subscribe(scope, uri, caller, {
          ...events,
          settled: refusal => settle.push(() => events.settled(refusal)),
        })
      const opening = rawStream(url, listenFor({ resourceSubscriptions: ['a://x', 'a://y'] }))
      await expect.poll(() => settle.length).toBe(2)
      settle[0]?.()
      core.update('a://x')
      core.update('a://x')
      settle[1]?.()
      const stream = await opening
      expect(JSON.parse((await stream.next()) ?? '').method).toBe('notifications/subscriptions/acknowledged')
      core.update('a://y')
      const uris = [await stream.next(), await stream.next()].map(text => JSON.parse(text ?? '').params.uri)
      expect(uris).toEqual(['a://x', 'a://y'])
    })
  })

  verifies(['SUB2'], 'may ask for so many resources, in an array of strings', async () => {
    await withFace(async ({ url, core }) => {
      const ask = async (resourceSubscriptions: unknown) => {
        const { body, headers } = listenFor({ resourceSubscriptions })
        return parse(await rawPost(url, body, headers)).error
      }
      const uris = Array.from({ length: LIMITS.subscriptionsPerClient + 1 }, (_, n) => `a://${n}`)
      expect(await ask(uris)).toMatchObject({ code: 42901, data: { kind: 'overloaded' } })
      expect(await ask('a://x')).toMatchObject({ code: -32602 })
      expect(await ask([1])).toMatchObject({ code: -32602 })
      const stream = await rawStream(url, listenFor({ resourceSubscriptions: uris.slice(1) }))
      const { notifications } = JSON.parse((await stream.next()) ?? '').params
      expect(notifications.resourceSubscriptions).toHaveLength(LIMITS.subscriptionsPerClient)
      expect(core.subscriptions.size).toBe(LIMITS.subscriptionsPerClient)
    })
  })
})

describe('one pipe', () => {
  test('carries the subscriptions of both eras apart', async () => {
    const core = new ScriptedCore()
    const [input, output] = [new PassThrough(), new PassThrough()]
    const face = createStdioFace(core, manualHost().host, { input, output })
    const lines: string[] = []
    output.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')))
    const say = async (line: string) => {
      const before = lines.length
      input.write(`${line}\n`)
      await expect.poll(() => lines.length).toBe(before + 1)
      return JSON.parse(lines.at(-1) ?? '')
    }
    await say(hello())
    await say(rpc('resources/subscribe', { uri: 'a://x' }, 1))
    const both = { notifications: { resourceSubscriptions: ['a://x', 'a://y'] } }
    await say(modern('subscriptions/listen', both, 's').body)
    const from = lines.length
    core.update('a://x')
    core.update('a://y')
    await expect.poll(() => lines.length).toBe(from + 3)
    expect(
      lines.slice(from).map(line => {
        const { params } = JSON.parse(line)
        return [params.uri, params._meta?.[`${KEY}subscriptionId`]]
      }),
    ).toEqual([
      ['a://x', undefined],
      ['a://x', 's'],
      ['a://y', 's'],
    ])
    input.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"s"}}\n')
    await expect.poll(() => core.subscriptions.size).toBe(1)
    face.close()
    expect(core.subscriptions.size).toBe(0)
  })
})
