import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../../test/kit/virtual-clock.js'
import type { Outcome } from '../../model/index.js'
import { UpstreamConnection } from '../connection.js'
import type { OutgoingMessage, Transport } from '../transport.js'
import { followLegacy } from './follow-legacy.js'
import { followModern } from './follow-modern.js'
import { legacyCodec } from './legacy.js'
import { modernCodec } from './modern.js'
import { ListWatch } from './open-modern.js'

interface Sent {
  readonly id: number
  readonly method: string
  readonly params: {
    readonly uri?: string
    readonly requestId?: number
    readonly notifications?: Record<string, unknown>
  }
}

const TAG = 'io.modelcontextprotocol/subscriptionId'
const CAPABILITIES = { resources: { subscribe: true, listChanged: true } }

/** A connection over a pipe that the test plays, on virtual time. */
function connect(era: 'legacy' | 'modern', capabilities: Record<string, unknown> = CAPABILITIES) {
  const clock = virtualClock()
  const sent: Sent[] = []
  const heard: string[] = []
  const link: Transport = {
    kind: 'stdio',
    pid: null,
    start: () => Promise.resolve(),
    send: ({ bytes }: OutgoingMessage) => void sent.push(JSON.parse(Buffer.from(bytes).toString())),
    abort: () => undefined,
    useProtocolVersion: () => undefined,
    openNotificationStream: () => undefined,
    fail: () => undefined,
    close: () => Promise.resolve(),
    destroy: () => undefined,
  }
  const clientInfo = { name: 't', version: '1' }
  const codec =
    era === 'legacy' ? legacyCodec : modernCodec({ version: '2026-07-28', clientInfo, overHttp: false })
  const events = {
    closed: () => undefined,
    notification: (method: string) => void heard.push(method.replace('notifications/', '')),
    violation: () => undefined,
    stderr: () => undefined,
  }
  const connection = new UpstreamConnection(
    { upstream: 'a', clock, events, hasCredentials: false },
    link,
    codec,
  )
  connection.shook({ protocolVersion: '', serverInfo: null, capabilities, instructions: null })
  const random = { next: () => 1, token: () => '' }
  const follow = era === 'legacy' ? followLegacy(connection, clock) : followModern(connection, clock, random)
  const say = (message: object) =>
    connection.message(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })), null)
  const taken: string[] = []
  const wordOf = (refusal: Outcome | null) =>
    refusal === null ? 'taken' : 'error' in refusal ? refusal.error.code : 'refused'
  return {
    clock,
    sent,
    heard,
    connection,
    random,
    taken,
    say,
    offers: follow !== undefined,
    follow: (uri: string) =>
      follow?.(uri, refusal => taken.push(`${uri} ${wordOf(refusal)}`)) ?? (() => undefined),
    last: () => sent.at(-1) as Sent,
    of: (method: string) => sent.filter(each => each.method === method),
    result: (id: number, result = {}) => say({ id, result }),
    refuse: (id: number, code = -32602) => say({ id, error: { code, message: 'no' } }),
    acknowledge: (id: number, uris?: readonly string[]) =>
      say({
        method: 'notifications/subscriptions/acknowledged',
        params: {
          _meta: { [TAG]: id },
          ...(uris ? { notifications: { resourceSubscriptions: uris } } : {}),
        },
      }),
  }
}

type Made = ReturnType<typeof connect>

const urisOf = ({ params }: Sent) => params.notifications?.['resourceSubscriptions']
const cancelled = (made: Made) => made.of('notifications/cancelled').map(({ params }) => params.requestId)

test('a server that does not offer subscriptions is asked for none', () => {
  for (const era of ['legacy', 'modern'] as const) {
    expect(connect(era, {}).offers).toBe(false)
    expect(connect(era, { resources: { subscribe: false } }).offers).toBe(false)
    expect(connect(era).offers).toBe(true)
  }
})

describe('resources/subscribe', () => {
  test('is sent once, and unsubscribe when nobody wants it any more', async () => {
    const made = connect('legacy')
    const leave = made.follow('x://1')
    made.result(made.last().id)
    await made.clock.pass(0)
    expect(made.taken).toEqual(['x://1 taken'])
    leave()
    leave()
    expect(made.sent.map(({ method }) => method)).toEqual(['resources/subscribe', 'resources/unsubscribe'])
    made.result(made.last().id)
    await made.clock.pass(60_000)
    expect([made.sent.length, made.clock.armed]).toEqual([2, 0])
  })

  test('is never under way twice for one URI, whatever is wanted in the meantime', async () => {
    const made = connect('legacy')
    made.follow('x://1')()
    const leave = made.follow('x://1')
    expect(made.sent).toHaveLength(1)
    made.result(made.last().id)
    await made.clock.pass(0)
    expect(made.taken).toEqual(['x://1 taken'])
    leave()
    made.follow('x://1')
    made.result(made.last().id)
    expect(made.sent.map(({ method }) => method)).toEqual([
      'resources/subscribe',
      'resources/unsubscribe',
      'resources/subscribe',
    ])
  })

  test('goes out eight at a time', () => {
    const made = connect('legacy')
    for (let n = 0; n < 20; n += 1) made.follow(`x://${n}`)
    expect(made.sent).toHaveLength(8)
    made.result(made.sent[0]?.id ?? 0)
    expect(made.sent).toHaveLength(9)
  })

  test('that is refused is told so, and one without an answer is sent again', async () => {
    const made = connect('legacy')
    made.follow('x://1')
    made.refuse(made.last().id)
    expect(made.taken).toEqual(['x://1 refused'])
    made.follow('x://2')
    await made.clock.pass(14_000)
    expect(made.of('resources/subscribe')).toHaveLength(2)
    await made.clock.pass(2_000)
    expect(made.of('resources/subscribe')).toHaveLength(3)
    made.result(made.last().id)
    await made.clock.pass(0)
    expect(made.taken).toEqual(['x://1 refused', 'x://2 taken'])
  })
})

describe('a stream with resource subscriptions', () => {
  test('is opened for all that is wanted at once, and kept until the next one is taken up', async () => {
    const made = connect('modern')
    made.follow('x://1')
    made.follow('x://2')
    await made.clock.pass(50)
    const first = made.last()
    expect([first.method, urisOf(first)]).toEqual(['subscriptions/listen', ['x://1', 'x://2']])
    made.acknowledge(first.id, ['x://1', 'x://2'])
    expect(made.taken).toEqual(['x://1 taken', 'x://2 taken'])
    const leave = made.follow('x://3')
    await made.clock.pass(50)
    const second = made.last()
    expect([urisOf(second), cancelled(made)]).toEqual([['x://1', 'x://2', 'x://3'], []])
    made.acknowledge(second.id, ['x://1', 'x://2', 'x://3'])
    expect([made.taken.at(-1), cancelled(made)]).toEqual(['x://3 taken', [first.id]])
    await made.clock.pass(1_000)
    leave()
    await made.clock.pass(50)
    expect(urisOf(made.last())).toEqual(['x://1', 'x://2'])
    expect(made.heard).toEqual([])
  })

  test('is closed when nothing is wanted', async () => {
    const made = connect('modern')
    const leave = made.follow('x://1')
    await made.clock.pass(50)
    const { id } = made.last()
    made.acknowledge(id, ['x://1'])
    leave()
    await made.clock.pass(60_000)
    expect([cancelled(made), made.of('subscriptions/listen').length]).toEqual([[id], 1])
  })

  test('that was lost is opened again, and then all may have changed, once', async () => {
    const made = connect('modern')
    made.follow('x://1')
    await made.clock.pass(50)
    made.acknowledge(made.last().id, ['x://1'])
    made.result(made.last().id)
    await made.clock.pass(1_000)
    expect(made.heard).toEqual([])
    made.acknowledge(made.last().id, ['x://1'])
    await made.clock.pass(1_000)
    expect([made.heard, made.taken]).toEqual([['resources/updated'], ['x://1 taken']])
  })

  test('comes back within five seconds in the first minute of an outage', async () => {
    const made = connect('modern')
    made.follow('x://1')
    await made.clock.pass(50)
    made.acknowledge(made.last().id, ['x://1'])
    for (let asked = 1; asked < 12; asked += 1) {
      made.result(made.last().id)
      await made.clock.pass(5_000)
      expect(made.of('subscriptions/listen')).toHaveLength(asked + 1)
    }
  })

  test('that a server drops again and again is opened seldom in the end', async () => {
    const made = connect('modern')
    made.follow('x://1')
    await made.clock.pass(50)
    for (let turn = 0; turn < 40; turn += 1) {
      made.acknowledge(made.last().id, ['x://1'])
      made.result(made.last().id)
      await made.clock.pass(10_000)
    }
    const before = made.of('subscriptions/listen').length
    await made.clock.pass(60_000)
    expect(before).toBeLessThan(25)
    expect(made.of('subscriptions/listen').length - before).toBeLessThanOrEqual(2)
  })

  test('is told without what the server did not take up, which is asked for anew when it is wanted anew', async () => {
    const made = connect('modern')
    made.follow('x://1')
    made.follow('x://bad')
    await made.clock.pass(50)
    made.acknowledge(made.last().id, ['x://1'])
    expect(made.taken).toEqual(['x://1 taken', 'x://bad INVALID_PARAMS'])
    made.follow('x://bad')
    await made.clock.pass(50)
    made.acknowledge(made.last().id, ['x://1'])
    expect(made.taken.slice(2)).toEqual(['x://bad INVALID_PARAMS'])
  })

  test('that is refused for one URI is refused to that one alone', async () => {
    const made = connect('modern')
    for (let n = 0; n < 8; n += 1) made.follow(`x://${n}`)
    for (let turn = 0; turn < 20; turn += 1) {
      const before = made.of('subscriptions/listen').length
      await made.clock.pass(100)
      if (made.of('subscriptions/listen').length === before) continue
      const listen = made.of('subscriptions/listen').at(-1) as Sent
      const uris = urisOf(listen) as string[]
      if (uris.includes('x://5')) made.refuse(listen.id)
      else made.acknowledge(listen.id, uris)
    }
    expect([...made.taken].sort()).toEqual(
      Array.from({ length: 8 }, (_, n) => `x://${n} ${n === 5 ? 'refused' : 'taken'}`),
    )
  })

  test('is refused to all by a server that has no such method', async () => {
    const made = connect('modern')
    made.follow('x://1')
    made.follow('x://2')
    await made.clock.pass(50)
    made.refuse(made.last().id, -32601)
    await made.clock.pass(60_000)
    expect(made.taken).toEqual(['x://1 refused', 'x://2 refused'])
    expect(made.of('subscriptions/listen')).toHaveLength(1)
  })

  test('is apart from the one for lists, and each is taken up under its own id', async () => {
    const made = connect('modern')
    new ListWatch(made.connection, made.clock, made.random).open()
    made.follow('x://1')
    await made.clock.pass(50)
    const [lists, resources] = made.of('subscriptions/listen')
    made.refuse(resources?.id ?? 0)
    await made.clock.pass(50)
    made.acknowledge(lists?.id ?? 0)
    expect(made.taken).toEqual(['x://1 refused'])
    made.result(lists?.id ?? 0)
    await made.clock.pass(1_000)
    made.acknowledge(made.last().id)
    expect(made.heard).toEqual(['tools/list_changed', 'prompts/list_changed', 'resources/list_changed'])
  })

  test('does not make a program look stuck, however often it is replaced', async () => {
    const made = connect('modern')
    for (let n = 0; n < 20; n += 1) {
      made.follow(`x://${n}`)
      await made.clock.pass(50)
      made.acknowledge(made.last().id)
    }
    await made.clock.pass(120_000)
    expect([cancelled(made).length, made.connection.stuck]).toEqual([19, 0])
  })
})
