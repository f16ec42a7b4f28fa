import { describe, expect, test } from 'vitest'
import { lost, OK, SPEC, world } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { offering, view } from '../../test/kit/views.js'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { EMPTY_CATALOG, LIMITS, type Outcome, type Scope, type UpstreamView } from '../model/index.js'
import type { Connection } from './ports.js'
import { ResourceBook } from './resource-book.js'
import { Store } from './store.js'
import { Subscriptions } from './subscriptions.js'

const ALL: Scope = { kind: 'all' }
const UPDATED = 'notifications/resources/updated'
const REFUSED: Outcome = {
  kind: 'answered',
  reply: { error: Buffer.from('{}') },
  era: 'legacy',
  upstream: 'a',
}

/** Servers that take up what the test says, and clients that write down what they are told. */
function room(...views: UpstreamView[]) {
  const clock = virtualClock()
  const store = new Store()
  store.commitViews(new Map(views.map(each => [each.name, each])))
  const demanded: string[] = []
  const servers = new Map(
    views.map(({ name }) => {
      const book = new ResourceBook(name, clock)
      return [name, { resources: book, connection: null, demand: () => void demanded.push(name) }]
    }),
  )
  const supervisor = (name: string) => servers.get(name)
  const subscriptions = new Subscriptions({ host: { clock }, store, supervisor }, { open: 0 })
  const asked: string[] = []
  /** Null = does not answer. */
  let answer: (uri: string) => Outcome | 'taken' | null = () => 'taken'
  const follow: Connection['follow'] = (uri, taken) => {
    asked.push(`+${uri}`)
    const said = answer(uri)
    if (said !== null) queueMicrotask(() => taken(said === 'taken' ? null : said))
    return () => void asked.push(`-${uri}`)
  }
  const bookOf = (name: string) => servers.get(name)?.resources as ResourceBook
  return {
    clock,
    store,
    asked,
    demanded,
    supervisor,
    bookOf,
    answers: (next: typeof answer) => {
      answer = next
    },
    up: (name: string, can = true) => bookOf(name).connected((can ? { follow } : {}) as Connection),
    down: (name: string) => bookOf(name).disconnected(),
    say: (name: string, params: object) =>
      bookOf(name).notified(UPDATED, Buffer.from(JSON.stringify(params))),
    client: (uri: string, scope: Scope = ALL) => {
      const log: string[] = []
      const subscription = subscriptions.subscribe(scope, uri, {
        settled: refusal =>
          log.push(
            refusal === null ? 'stands' : 'error' in refusal ? `${refusal.error.code}` : `${refusal.kind}`,
          ),
        updated: params => log.push(Buffer.from(params).toString()),
      })
      return { log, end: () => subscription.end() }
    },
  }
}

const SERVER = view('a', { catalog: offering('resources', 'x://1', 'x://2') })
const X1 = 'x://a~/1'

describe('a subscription', () => {
  verifies(
    ['D55', 'SUB3'],
    'is told changes under its own URI; the server is asked once for all',
    async () => {
      const { client, up, say, asked, clock } = room(SERVER)
      up('a')
      const [one, two, other] = [client(X1), client(X1), client('x://a~/2')]
      const own = client('x://1', { kind: 'server', name: 'a' })
      await clock.pass(0)
      expect(asked).toEqual(['+x://1', '+x://2'])
      say('a', { uri: 'x://1', n: 1, _meta: { 'io.modelcontextprotocol/subscriptionId': 4 } })
      for (const { log } of [one, two]) expect(log).toEqual(['stands', `{"uri":"${X1}","n":1}`])
      expect(own.log).toEqual(['stands', '{"uri":"x://1","n":1}'])
      expect(other.log).toEqual(['stands'])
      one.end()
      own.end()
      await clock.pass(1_000)
      say('a', { uri: 'x://1' })
      expect([one.log.length, two.log.length, asked.length]).toEqual([2, 3, 2])
      two.end()
      two.end()
      expect(asked).toEqual(['+x://1', '+x://2', '-x://1'])
      say('a', { uri: 'x://1' })
      expect(two.log).toHaveLength(3)
    },
  )

  test('hears of a part of its resource, with the rest of the URI behind its own', async () => {
    const { client, up, say, clock } = room(SERVER)
    up('a')
    const { log } = client(X1)
    await clock.pass(0)
    say('a', { uri: 'x://1/part' })
    say('a', { uri: 'x://12' })
    expect(log).toEqual(['stands', `{"uri":"${X1}/part"}`])
  })

  test('hears of many changes in little time once for each part, the last one included', async () => {
    const { client, up, say, clock } = room(SERVER)
    up('a')
    const { log } = client(X1)
    await clock.pass(0)
    for (let n = 0; n < 1_000; n += 1) say('a', { uri: 'x://1', n })
    say('a', { uri: 'x://1/part' })
    await clock.pass(1_000)
    expect(log.slice(1)).toEqual([`{"uri":"${X1}","n":0}`, `{"uri":"${X1}","n":999}`, `{"uri":"${X1}/part"}`])
    for (let n = 0; n < 1_000; n += 1) say('a', { uri: `x://1/${n}` })
    await clock.pass(1_000)
    expect(log.length).toBeLessThan(110)
    expect(log).toContain(`{"uri":"${X1}"}`)
    expect(clock.armed).toBe(0)
  })

  test('of what nobody offers is refused as a read would be', async () => {
    const none = view('a', {
      prefix: 'a',
      catalog: {
        ...offering('tools', 't'),
        resources: { state: 'absent' },
        resourceTemplates: { state: 'absent' },
      },
    })
    const { client, clock } = room(none)
    const { log } = client('x://b~/1')
    await clock.pass(0)
    expect(log).toEqual(['NOT_FOUND'])
  })

  verifies(['SUB4'], 'is refused where the server offers none, or refuses it', async () => {
    const { client, up, answers, clock, asked, bookOf } = room(SERVER)
    up('a', false)
    const first = client(X1)
    await clock.pass(0)
    expect(first.log).toEqual(['METHOD_NOT_FOUND'])
    up('a')
    answers(() => REFUSED)
    const second = client(X1)
    await clock.pass(0)
    expect([second.log, asked, bookOf('a').size]).toEqual([['answered'], ['+x://1'], 0])
    answers(() => 'taken')
    const third = client(X1)
    await clock.pass(60_000)
    expect(third.log).toEqual(['stands'])
  })

  test('stands after two seconds when the server says nothing, and is told once it is taken up', async () => {
    const { client, up, answers, clock } = room(SERVER)
    answers(() => null)
    up('a')
    const { log } = client(X1)
    await clock.pass(1_900)
    expect(log).toEqual([])
    await clock.pass(200)
    expect(log).toEqual(['stands'])
    answers(() => 'taken')
    up('a')
    await clock.pass(0)
    expect(log).toEqual(['stands', `{"uri":"${X1}"}`])
  })

  test('is not more than so many of all clients together', async () => {
    const { store, supervisor } = room(SERVER)
    const clock = { now: () => 0, wallTime: () => 0, after: () => ({ cancel: () => undefined }) }
    const subscriptions = new Subscriptions({ host: { clock }, store, supervisor }, { open: 0 })
    const log: string[] = []
    const settled = (refusal: Outcome | null) =>
      log.push(refusal && 'error' in refusal ? refusal.error.code : 'stands')
    const subscribe = () => subscriptions.subscribe(ALL, X1, { settled, updated: () => undefined })
    const all = Array.from({ length: LIMITS.subscriptions }, subscribe)
    subscribe()
    all[0]?.end()
    all[0]?.end()
    subscribe()
    subscribe()
    await Promise.resolve()
    expect(log.filter(word => word === 'OVERLOADED')).toHaveLength(2)
    expect(log.filter(word => word === 'stands')).toHaveLength(LIMITS.subscriptions)
  })
})

describe('a server that is away', () => {
  verifies(
    ['SUB5'],
    'is subscribed to when it comes back, and each subscriber is told one update',
    async () => {
      const { client, up, down, asked, demanded, clock } = room(SERVER)
      const early = client(X1)
      await clock.pass(0)
      expect([early.log, demanded]).toEqual([['stands'], ['a']])
      up('a')
      await clock.pass(0)
      const late = client(X1)
      await clock.pass(0)
      expect([early.log, late.log]).toEqual([['stands', `{"uri":"${X1}"}`], ['stands']])
      down('a')
      await clock.pass(10_000)
      up('a')
      await clock.pass(10_000)
      expect(asked).toEqual(['+x://1', '+x://1'])
      expect([early.log.length, late.log]).toEqual([3, ['stands', `{"uri":"${X1}"}`]])
    },
  )

  test('and may have said something in between, was not heard: all that is followed may have changed', async () => {
    const { client, up, bookOf, clock } = room(SERVER)
    up('a')
    const [one, two] = [client(X1), client('x://a~/2')]
    await clock.pass(0)
    bookOf('a').notified(UPDATED, null)
    expect([one.log, two.log]).toEqual([
      ['stands', `{"uri":"${X1}"}`],
      ['stands', '{"uri":"x://a~/2"}'],
    ])
  })

  test('forgets nothing of a subscriber that it refuses at its return', async () => {
    const { client, up, down, answers, clock } = room(SERVER)
    up('a')
    const { log } = client(X1)
    await clock.pass(0)
    down('a')
    answers(() => REFUSED)
    up('a')
    await clock.pass(0)
    expect(log).toEqual(['stands'])
    down('a')
    answers(() => 'taken')
    up('a')
    await clock.pass(0)
    expect(log).toEqual(['stands', `{"uri":"${X1}"}`])
  })

  test('that was never reached may own a URI: it stands, and finds its owner later', async () => {
    const never = view('a', { state: 'backoff', attempts: 3, catalog: EMPTY_CATALOG })
    const { client, up, store, demanded, clock, asked } = room(never)
    const { log } = client(X1)
    await clock.pass(0)
    expect([log, demanded]).toEqual([['stands'], ['a']])
    store.commitView(SERVER)
    up('a')
    await clock.pass(100)
    expect([asked, log]).toEqual([['+x://1'], ['stands', `{"uri":"${X1}"}`]])
  })

  test('is waited for while it starts, and says then that it has no such thing', async () => {
    const { client, store, clock } = room(view('a', { state: 'starting' }))
    const { log } = client('plain')
    await clock.pass(1_000)
    expect(log).toEqual([])
    store.commitView(
      view('a', {
        catalog: {
          ...offering('tools', 't'),
          resources: { state: 'absent' },
          resourceTemplates: { state: 'absent' },
        },
      }),
    )
    await clock.pass(100)
    expect(log).toEqual(['NOT_FOUND'])
  })
})

test('where several servers could own a URI, each is followed, and one that takes it up is enough', async () => {
  const part = { prefix: 'p', catalog: offering('resources', 'x://other') }
  const { client, up, say, clock } = room(view('a', part), view('b', part))
  up('a', false)
  up('b')
  const { log } = client('x://p~/1')
  await clock.pass(0)
  say('b', { uri: 'x://1' })
  expect(log).toEqual(['stands', '{"uri":"x://p~/1"}'])
})

describe('a server that is followed', () => {
  const follow: Connection['follow'] = (_uri, taken) => {
    queueMicrotask(() => taken(null))
    return () => undefined
  }
  const follower = () => {
    const log: string[] = []
    return { log, answered: (answer: unknown) => void log.push(String(answer)), updated: () => undefined }
  }

  verifies(['SUB6'], 'is not stopped for being idle, until nobody follows it', async () => {
    const made = world('stdio', () => OK, {
      lazy: true,
      supervision: { ...SPEC.supervision, idleStopMs: 60_000 },
    })
    made.behaviour.follow = follow
    made.supervisor.demand()
    await made.clock.pass(0)
    const leave = made.supervisor.resources.join('x://1', follower())
    await made.clock.pass(600_000)
    expect([made.supervisor.state, made.opened.length]).toEqual(['ready', 1])
    leave()
    await made.clock.pass(180_000)
    expect(made.supervisor.state).toBe('idle')
  })

  test('is started again although it is lazy and ended quietly', async () => {
    const made = world('stdio', () => OK, { lazy: true })
    made.behaviour.follow = follow
    made.supervisor.demand()
    await made.clock.pass(0)
    const one = follower()
    made.supervisor.resources.join('x://1', one)
    await made.clock.pass(0)
    made.opened[0]?.events.closed(lost('exited with code 0').with({ quiet: true }))
    await made.clock.pass(5_000)
    expect([made.supervisor.state, made.opened.length]).toEqual(['ready', 2])
    expect(one.log).toEqual(['taken', 'away', 'taken'])
  })
})
