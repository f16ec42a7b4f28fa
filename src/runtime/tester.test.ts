import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { GatewayError, type UpstreamSpec } from '../model/index.js'
import type { Connection, ConnectorFactory } from './ports.js'
import { Tester, type TesterPorts } from './tester.js'

const TIMEOUTS = { connect: 5_000, start: 60_000, request: 1, total: 1, list: 10_000, listTotal: 30_000 }
const SPEC = {
  name: 'a',
  transport: { kind: 'http', url: 'http://127.0.0.1:1/', headers: {} },
  timeouts: TIMEOUTS,
  tools: { deny: ['hidden_*'] },
  resources: {},
  prompts: {},
} as unknown as UpstreamSpec

const refused = () =>
  new GatewayError('UPSTREAM_UNAVAILABLE', 'a: connection refused.', {
    upstream: 'a',
    reason: 'connection refused by 127.0.0.1:1',
    cause: {
      phase: 'never-sent',
      reason: 'refused',
      message: 'connection refused by 127.0.0.1:1',
      cause: Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' }),
    },
  })

/** A connection that lists two tools, one of which a rule hides; `hung` never answers its lists. */
function connection(hung = false) {
  const ended: string[] = []
  const fake = {
    transport: 'stdio',
    protocolVersion: 'x',
    serverInfo: { name: 'fake', version: '1' },
    capabilities: { tools: {} },
    request: ({ settle }: { settle: (outcome: unknown) => void }) => {
      const result = Buffer.from('{"tools":[{"name":"seen"},{"name":"hidden_one"}]}')
      if (!hung) queueMicrotask(() => settle({ kind: 'answered', upstream: 'a', reply: { result } }))
      return { cancel: () => undefined }
    },
    close: async () => void ended.push('closed'),
    destroy: () => void ended.push('destroyed'),
  } as unknown as Connection
  return { fake, ended }
}

type Open = (spec: UpstreamSpec, signal: AbortSignal) => Promise<Connection>

function tester(open: Open, part: Partial<TesterPorts> = {}) {
  const time = manualHost()
  const opened: number[] = []
  const succeeded: string[] = []
  const connectors: ConnectorFactory = spec => ({
    open: (_events, signal) => {
      opened.push(time.host.clock.now() - 1_000)
      return open(spec, signal)
    },
  })
  const ports: TesterPorts = {
    connectors,
    clock: time.host.clock,
    find: name => (name === 'a' ? SPEC : undefined),
    succeeded: name => void succeeded.push(name),
    ...part,
  }
  /** Lets the promises settle, then moves the clock in small steps. */
  const pass = async (ms: number) => {
    for (let gone = 0; gone < ms; gone += 100) {
      await new Promise(resolve => setImmediate(resolve))
      time.advance(100)
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  return { tester: new Tester(ports), time, opened, succeeded, pass }
}

describe('a test of a server', () => {
  test('makes as many tries as were asked for, half a second and a second apart, and waits for nothing after the last', async () => {
    const { tester: it, opened, pass, time } = tester(() => Promise.reject(refused()))
    const running = it.test('a', { attempts: 3 })
    await pass(5_000)
    expect(opened).toEqual([0, 500, 1_500])
    expect(await running).toMatchObject({ ok: false, phase: 'connect', attempts: 3 })
    expect(time.timers).toBe(0)
  })

  test('tells every cause, the last one included', async () => {
    const { tester: it } = tester(() => Promise.reject(refused()))
    const { error, causeChain } = await it.test('a', { attempts: 1 })
    expect(error).toEqual({
      code: 'UPSTREAM_UNAVAILABLE',
      kind: 'unavailable',
      message: 'connection refused by 127.0.0.1:1',
    })
    expect(causeChain).toEqual(['connection refused by 127.0.0.1:1', 'ECONNREFUSED: connect failed'])
  })

  test.each([
    ['MISCONFIGURED', { reason: 'spawn' }, 'spawn'],
    ['SIGN_IN_REQUIRED', { reason: 'unauthorized' }, 'auth'],
    ['UPSTREAM_UNAVAILABLE', { reason: 'tls' }, 'tls'],
  ] as const)('does not try again after %s (%j)', async (code, cause, phase) => {
    const { tester: it, opened } = tester(() => Promise.reject(new GatewayError(code, 'no', { cause })))
    expect(await it.test('a')).toMatchObject({ ok: false, phase, attempts: 1 })
    expect(opened).toEqual([0])
  })

  test.each([
    ['dns', 'dns'],
    ['connect-timeout', 'connect'],
    ['reset', 'initialize'],
    ['exit', 'initialize'],
  ] as const)('that ends with the fault %s failed at %s', async (reason, phase) => {
    const error = new GatewayError('UPSTREAM_UNAVAILABLE', 'no', { cause: { reason } })
    const { tester: it } = tester(() => Promise.reject(error))
    expect(await it.test('a', { attempts: 1 })).toMatchObject({ phase })
  })

  test('of a server that never answers ends after 16.5 s with the defaults', async () => {
    const {
      tester: it,
      pass,
      time,
      opened,
    } = tester(
      (spec, signal) =>
        new Promise((_resolve, reject) => {
          time.host.clock.after(spec.timeouts.start, () => reject(new GatewayError('CALL_TIMEOUT', 'late')))
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
    )
    let endedAt = 0
    const running = it.test('a').then(report => {
      endedAt = time.host.clock.now() - 1_000
      return report
    })
    await pass(20_000)
    expect(await running).toMatchObject({ ok: false, phase: 'initialize', attempts: 3 })
    expect(opened).toEqual([0, 5_500, 11_500])
    expect(endedAt).toBeLessThanOrEqual(16_600)
  })

  test('of a server that shakes hands and never lists fails at the list, in the same time', async () => {
    const all: ReturnType<typeof connection>[] = []
    const { tester: it, pass } = tester(async () => {
      const one = connection(true)
      all.push(one)
      return one.fake
    })
    const running = it.test('a', { timeoutMs: 1_000, attempts: 2 })
    await pass(2_700)
    const report = await running
    expect(report).toMatchObject({ ok: false, phase: 'list', attempts: 2, serverInfo: { name: 'fake' } })
    expect(report.error?.message).toContain('tools/list got no answer within 1 s')
    expect(all.map(one => one.ended)).toEqual([['destroyed'], ['destroyed']])
  })

  test('that went well tells what the gateway would offer, has left the server, and says so once', async () => {
    const { fake, ended } = connection()
    const { tester: it, succeeded } = tester(async () => fake)
    expect(await it.test('a')).toMatchObject({
      ok: true,
      phase: null,
      attempts: 1,
      error: null,
      counts: { tools: 1, resources: 0, resourceTemplates: 0, prompts: 0 },
      serverInfo: { name: 'fake', version: '1' },
      protocolVersion: 'x',
      transport: 'stdio',
    })
    expect(ended).toEqual(['closed'])
    expect(succeeded).toEqual(['a'])
  })

  test('is shared by callers who come while it runs, and ends with the last of them', async () => {
    let aborted = false
    const { tester: it, opened } = tester(
      (_spec, signal) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => {
            aborted = true
            reject(signal.reason)
          }),
        ),
    )
    const [first, second] = [new AbortController(), new AbortController()]
    const one = it.test('a', { signal: first.signal })
    const two = it.test('a', { signal: second.signal })
    await new Promise(resolve => setImmediate(resolve))
    expect(opened).toHaveLength(1)
    first.abort(new Error('first left'))
    await expect(one).rejects.toThrow('first left')
    expect(aborted).toBe(false)
    second.abort(new Error('second left'))
    await expect(two).rejects.toThrow('second left')
    expect(aborted).toBe(true)
    const third = it.test('a', { signal: AbortSignal.timeout(20) })
    expect(opened).toHaveLength(2)
    await expect(third).rejects.toThrow()
  })

  test('can be cancelled between two tries', async () => {
    const { tester: it, time, opened } = tester(() => Promise.reject(refused()))
    const stop = new AbortController()
    const running = it.test('a', { signal: stop.signal })
    await expect.poll(() => time.timers).toBe(1)
    stop.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    expect(time.timers).toBe(0)
    expect(opened).toHaveLength(1)
  })

  test('that is cancelled in its lists leaves no child behind', async () => {
    const { fake, ended } = connection(true)
    const { tester: it, time } = tester(async () => fake)
    const stop = new AbortController()
    const running = it.test('a', { signal: stop.signal })
    await expect.poll(() => time.timers).toBe(1)
    stop.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    expect(ended).toEqual(['destroyed'])
  })

  test('ends with the gateway', async () => {
    const { fake, ended } = connection(true)
    const { tester: it, time } = tester(async () => fake)
    const running = it.test('a')
    running.catch(() => undefined)
    await expect.poll(() => time.timers).toBe(1)
    await it.stop()
    expect(ended).toEqual(['destroyed'])
    await expect(running).rejects.toThrow('stopping')
  })

  test('ends at once when the gateway is killed', async () => {
    const { fake, ended } = connection(true)
    const { tester: it, time } = tester(async () => fake)
    const running = it.test('a')
    running.catch(() => undefined)
    await expect.poll(() => time.timers).toBe(1)
    it.kill()
    // Nothing runs after the exit that follows: it has to be done by now.
    expect(ended).toEqual(['destroyed'])
    await expect(running).rejects.toThrow('ended')
  })

  test.each([
    [{ attempts: 0 }],
    [{ attempts: 1.5 }],
    [{ attempts: 11 }],
    [{ timeoutMs: 0 }],
    [{ timeoutMs: Number.NaN }],
  ])('refuses %j', async options => {
    const { tester: it, opened } = tester(() => Promise.reject(refused()))
    await expect(it.test('a', options)).rejects.toMatchObject({ code: 'INVALID_PARAMS' })
    expect(opened).toEqual([])
  })

  test('of a name that is not configured is an error; of an entry that cannot work it is a report', async () => {
    const { tester: it } = tester(() => Promise.reject(refused()), {
      find: name => (name === 'bad' ? { name: 'bad', prefix: 'bad', problem: 'X is not set' } : undefined),
    })
    await expect(it.test('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await it.test('bad')).toMatchObject({
      ok: false,
      phase: null,
      attempts: 0,
      error: { kind: 'misconfigured', message: 'X is not set' },
    })
  })
})
