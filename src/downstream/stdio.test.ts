import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { hello, KEY, manualHost, modern, rpc, ScriptedCore } from '../../test/kit/scripted-core.js'
import { LIMITS } from '../model/index.js'
import { createStdioFace } from './index.js'

/** A face on two pipes; lines are awaited, not polled. */
function open(output = new PassThrough()) {
  const core = new ScriptedCore()
  const time = manualHost()
  const input = new PassThrough()
  const face = createStdioFace(core, time.host, { input, output })
  const lines: string[] = []
  const waiting: ((line: string) => void)[] = []
  let rest = ''
  const read = () =>
    output.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString('utf8')).split('\n')
      rest = parts.pop() ?? ''
      for (const line of parts) {
        const waiter = waiting.shift()
        if (waiter) waiter(line)
        else lines.push(line)
      }
    })
  const next = async () => {
    const line = lines.shift() ?? (await new Promise<string>(resolve => waiting.push(resolve)))
    return JSON.parse(line)
  }
  const ask = (line: string | Buffer) => {
    input.write(Buffer.concat([Buffer.from(line), Buffer.from('\n')]))
    return next()
  }
  return { core, time, input, output, face, read, next, ask, lines }
}

const tool = (id: unknown, meta?: object) =>
  rpc('tools/call', { name: 't', ...(meta ? { _meta: meta } : {}) }, id)
const stateless = (id: unknown, meta = {}) => modern('tools/call', { name: 't' }, id, meta).body
const cancelled = (id: unknown) => rpc('notifications/cancelled', { requestId: id }).replace('"id":1,', '')

describe('the stdio face', () => {
  test('answers garbage and what comes too early, and goes on', async () => {
    const { read, ask } = open()
    read()
    const invalid = Buffer.concat([
      Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ])
    for (const [line, code, id] of [
      ['garbage', -32700, null],
      [invalid, -32700, null],
      ['{"jsonrpc":"2.0","id":4}', -32600, 4],
      ['[]', -32600, null],
      [rpc('tools/list', {}, 'x'), -32600, 'x'],
      ['x'.repeat(LIMITS.bodyBytes + 1), -32700, null],
    ] as const) {
      expect(await ask(line)).toMatchObject({ id, error: { code } })
    }
    expect(await ask(rpc('ping', {}, 5))).toMatchObject({ error: { code: -32600 } })
    expect((await ask(hello())).result.protocolVersion).toBe('2025-11-25')
    expect(await ask(rpc('ping', {}, 5))).toEqual({ jsonrpc: '2.0', id: 5, result: {} })
  })

  test('serves both eras side by side, each in its own form', async () => {
    const { core, read, ask } = open()
    read()
    core.always = '{"content":[]}'
    expect((await ask(stateless('a'))).result.resultType).toBe('complete')
    await ask(hello())
    expect((await ask(tool('b'))).result).toEqual({ content: [] })
    expect((await ask(modern('initialize', {}, 'c').body)).error.code).toBe(-32601)
    expect((await ask(modern('tools/list', {}, 'd').body)).result).toMatchObject({ ttlMs: 7 })
  })

  test('cancels in both eras, answers nothing then, and says nothing after an answer', async () => {
    const { core, read, ask, input, next, lines } = open()
    read()
    await ask(hello())
    for (const body of [tool(1, { progressToken: 'p' }), stateless(1, { progressToken: 'p' })]) {
      input.write(`${body}\n`)
      const each = await core.next()
      input.write(`${cancelled(1)}\n`)
      expect(await each.cancelled).toContain('cancelled')
      input.write(`${body}\n`)
      const again = await core.next()
      again.result('{"content":[]}')
      again.progress('{"progressToken":1,"progress":1}')
      expect((await next()).id).toBe(1)
    }
    await ask(rpc('ping', {}, 9))
    expect(lines).toEqual([])
  })

  test('takes each id once at a time across the eras, and a bounded number of them', async () => {
    const { core, read, ask, input } = open()
    read()
    await ask(hello())
    input.write(`${tool(1)}\n${stateless(2)}\n`)
    await core.next()
    await core.next()
    for (const body of [tool(1), tool(2), stateless(1), stateless(2)]) {
      expect((await ask(body)).error).toMatchObject({ code: -32600 })
    }
    for (let id = 3; id <= LIMITS.inFlightPerClient; id += 1) {
      input.write(`${id % 2 === 0 ? tool(id) : stateless(id)}\n`)
      await core.next()
    }
    for (const body of [tool('x'), stateless('x')]) {
      expect((await ask(body)).result).toMatchObject({
        isError: true,
        _meta: { 'dev.holdfast/failure': { kind: 'overloaded' } },
      })
    }
  })

  test('tells a legacy client of changes once it is initialized, and a listening one what it asked for', async () => {
    const { core, time, read, ask, input, next, face } = open()
    read()
    await ask(hello())
    expect(core.listeners.size).toBe(0)
    input.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    const listen = modern('subscriptions/listen', { notifications: { promptsListChanged: true } }, 's').body
    expect((await ask(listen)).params).toMatchObject({ notifications: { promptsListChanged: true } })
    core.change('prompts')
    time.advance(0)
    const both = [await next(), await next()].map(({ method, params }) => [
      method,
      params?._meta[`${KEY}subscriptionId`],
    ])
    expect(both).toEqual([
      ['notifications/prompts/list_changed', undefined],
      ['notifications/prompts/list_changed', 's'],
    ])
    face.close()
    expect(await next()).toMatchObject({ id: 's', result: { resultType: 'complete' } })
    expect([core.listeners.size, time.timers]).toEqual([0, 0])
  })

  test('puts questions of a server to the client on the same stream', async () => {
    const { core, read, ask, input, next } = open()
    read()
    await ask(hello('2025-11-25', { roots: {} }))
    input.write(`${tool(1)}\n`)
    const each = await core.next()
    const reply = new Promise<string>(resolve => {
      each.call.context.onAsk?.({
        method: 'roots/list',
        params: null,
        respond: got => resolve('result' in got ? Buffer.from(got.result).toString() : 'error'),
      })
    })
    const { id } = await next()
    input.write(`{"jsonrpc":"2.0","id":${id},"result":{"roots":[]}}\n`)
    expect(await reply).toBe('{"roots":[]}')
  })

  test('takes batches in their one version', async () => {
    const { core, read, ask } = open()
    read()
    core.always = '{}'
    const batch = `[${tool(1)},${rpc('ping', {}, 2)}]`
    await ask(hello('2025-06-18'))
    expect((await ask(batch)).error.code).toBe(-32600)
    await ask(hello('2025-03-26'))
    expect((await ask(batch)).map((answer: { id: number }) => answer.id).sort()).toEqual([1, 2])
  })

  test('refuses new requests while the gateway stops', async () => {
    const { core, read, ask } = open()
    read()
    await ask(hello())
    core.draining = true
    for (const body of [rpc('tools/list'), modern('tools/list').body, hello()]) {
      expect((await ask(body)).error.code).toBe(42901)
    }
    expect((await ask(tool(1))).result._meta['dev.holdfast/failure'].kind).toBe('overloaded')
    expect(core.calls).toBe(0)
  })

  test('tells a client that does not read only its last progress, and reads no more of its requests', async () => {
    const { core, read, input, output, next } = open()
    input.write(`${stateless(1, { progressToken: 'p' })}\n`)
    const each = await core.next()
    const filler = 'x'.repeat(LIMITS.clientBufferBytes / 4)
    for (let i = 0; i < 50; i += 1) each.progress(`{"progressToken":1,"progress":${i},"message":"${filler}"}`)
    expect(output.writableLength + output.readableLength).toBeLessThan(LIMITS.clientBufferBytes)
    each.result(`{"content":[],"filler":"${filler.repeat(4)}"}`)
    expect(input.isPaused()).toBe(true)
    read()
    const seen: number[] = []
    let last = await next()
    for (; last.method; last = await next()) seen.push(last.params.progress)
    expect([seen.length < 5, seen.at(-1), last.id]).toEqual([true, 49, 1])
    await expect.poll(() => input.isPaused()).toBe(false)
  })

  test('closes when its input ends, its output breaks, or it is told to, and cancels what runs', async () => {
    const endings: ((opened: ReturnType<typeof open>) => void)[] = [
      ({ input }) => input.end(),
      ({ input }) => input.destroy(new Error('gone')),
      ({ output }) => output.destroy(new Error('EPIPE')),
      ({ face }) => face.close(),
    ]
    for (const end of endings) {
      const opened = open()
      opened.read()
      await opened.ask(hello())
      opened.input.write(`${tool(1)}\n${stateless(2)}\n`)
      const running = [await opened.core.next(), await opened.core.next()]
      end(opened)
      await opened.face.closed
      expect(running.map(each => each.isCancelled)).toEqual([true, true])
      opened.output.emit('error', new Error('once more'))
    }
  })
})
