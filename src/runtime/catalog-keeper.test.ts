import { describe, expect, test } from 'vitest'
import { SPEC } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { GatewayError, itemsIn, LIMITS, type Outcome, type UpstreamSpec } from '../model/index.js'
import { CatalogKeeper } from './catalog-keeper.js'
import type { Connection, UpstreamRequest } from './ports.js'

interface Asked extends UpstreamRequest {
  answer(result: unknown): void
}

function answered(result: unknown): Outcome {
  const reply = { result: Buffer.from(JSON.stringify(result)) }
  return { kind: 'answered', reply, era: 'modern', upstream: 'a' }
}

/** A keeper whose server answers at once what `lists` says, or when the test does. */
function world(part: Partial<UpstreamSpec> = {}) {
  const clock = virtualClock()
  const asked: Asked[] = []
  const warnings: string[] = []
  let commits = 0
  const server = {
    lists: null as ((method: string, cursor: string | null) => unknown) | null,
    capabilities: { tools: {} } as Record<string, unknown>,
    restMs: 0,
    asleep: false,
  }
  const spec = { ...SPEC, timeouts: { ...SPEC.timeouts, list: 10_000, listTotal: 30_000 }, ...part }
  const host = { clock, random: { next: () => 0, token: () => '' } }
  const keeper = new CatalogKeeper(spec, host, {
    changed: () => {
      commits += 1
    },
    warning: message => warnings.push(message),
    refused: () => undefined,
    restMs: () => server.restMs,
    asleep: () => server.asleep,
  })
  const connection = () =>
    ({
      capabilities: server.capabilities,
      era: 'modern',
      transport: 'http',
      request: (request: UpstreamRequest) => {
        const answer = (result: unknown) => request.settle(result as Outcome)
        asked.push({ ...request, answer: result => answer(answered(result)) })
        const cursor = request.params ? JSON.parse(Buffer.from(request.params.bytes).toString()).cursor : null
        const now = server.lists?.(request.method, cursor)
        if (now instanceof GatewayError) queueMicrotask(() => answer({ kind: 'unknown', error: now }))
        else if (now !== undefined) queueMicrotask(() => answer(answered(now)))
        return { cancel: () => undefined }
      },
    }) as unknown as Connection
  const connect = async () => {
    keeper.connected(connection(), () => undefined)
    await clock.pass(0)
  }
  return { keeper, clock, asked, warnings, server, connect, commits: () => commits }
}

const tools = (...names: string[]) => ({ tools: names.map(name => ({ name })) })
const names = (keeper: CatalogKeeper) => itemsIn(keeper.current.tools).map(({ key }) => key)
const failure = (reason: string) =>
  new GatewayError('OUTCOME_UNKNOWN', reason, { upstream: 'a', reason, phase: 'unknown' })

describe('how long a list is kept', () => {
  async function fetchesWithin(ms: number, hints: object, part: Partial<UpstreamSpec> = {}): Promise<number> {
    const { keeper, clock, asked, server, connect } = world(part)
    server.lists = () => ({ ...tools('t'), ...hints })
    await connect()
    for (let at = 0; at < ms; at += 100) {
      keeper.used()
      await clock.pass(100)
    }
    return asked.length
  }

  verifies(['D39'], 'is 300 s, or what the config says, or what the server says within that', async () => {
    expect(await fetchesWithin(299_900, {}, {})).toBe(1)
    expect(await fetchesWithin(61_000, {}, { cacheTtlMs: 60_000 })).toBe(2)
    expect(await fetchesWithin(61_000, { ttlMs: 20_000 }, { cacheTtlMs: 60_000 })).toBe(4)
    expect(await fetchesWithin(61_000, { ttlMs: 3_600_000 }, { cacheTtlMs: 60_000 })).toBe(2)
  })

  test('is at least LIMITS.listTtlMinMs, whatever nonsense the server says', async () => {
    for (const ttlMs of [0, -5, 'x', null]) {
      expect(await fetchesWithin(LIMITS.listTtlMinMs * 2 + 100, { ttlMs })).toBe(3)
    }
  })

  verifies(['D39'], 'is the least that any of its pages says, and private if any page is', async () => {
    const { keeper, server, connect } = world()
    server.lists = (_, cursor) =>
      cursor === null
        ? { ...tools('a'), ttlMs: 100_000, cacheScope: 'public', nextCursor: '2' }
        : { ...tools('b'), ttlMs: 50_000, cacheScope: 'private' }
    await connect()
    expect(keeper.current.tools).toMatchObject({ state: 'live', freshUntil: 50_000, cacheScope: 'private' })
    expect(names(keeper)).toEqual(['a', 'b'])
  })

  verifies(['D43'], 'does not depend on the wall clock', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.lists = () => tools('t')
    await connect()
    const day = 24 * 60 * 60_000
    for (const jump of [day, -day]) {
      clock.wallTime = () => clock.now() + jump
      keeper.used()
      await clock.pass(100_000)
    }
    expect(asked).toHaveLength(1)
    await clock.pass(100_000)
    expect(asked).toHaveLength(2)
  })

  verifies(
    ['D40'],
    'is no time at all where the cache is off: each look asks, and looks at the same time share it',
    async () => {
      const { keeper, clock, asked, server, connect } = world({ cacheTtlMs: 0 })
      server.lists = () => tools('t')
      await connect()
      await keeper.look('tools')
      await keeper.look('tools')
      expect(asked).toHaveLength(3)
      await Promise.all(Array.from({ length: 50 }, () => keeper.look('tools')))
      expect(asked).toHaveLength(4)
      await clock.pass(1_000_000)
      expect(asked).toHaveLength(4)
    },
  )
})

describe('what is kept', () => {
  verifies(
    ['E66'],
    'is asked for once, however many ask at the same time, and whoever gives up',
    async () => {
      const { keeper, clock, asked, connect } = world()
      await connect()
      expect(asked).toHaveLength(1)
      asked[0]?.answer(tools('t'))
      await clock.pass(0)
      const looks = Array.from({ length: 100 }, () => keeper.refresh())
      await clock.pass(0)
      expect(asked).toHaveLength(2)
      asked[1]?.answer(tools('t', 'u'))
      await clock.pass(0)
      await Promise.all(looks)
      expect(names(keeper)).toEqual(['t', 'u'])
      expect(asked).toHaveLength(2)
    },
  )

  verifies(['D47'], 'may be empty, which is an answer and no miss', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.lists = () => tools()
    await connect()
    expect(keeper.current.tools).toMatchObject({ state: 'live', items: [] })
    for (let i = 0; i < 10; i += 1) expect(keeper.look('tools')).toBeNull()
    await clock.pass(1_000)
    expect(asked).toHaveLength(1)
  })

  verifies(['D48'], 'is kept by kind: a change of one leaves the others', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.capabilities = { tools: {}, prompts: {} }
    server.lists = method => (method === 'tools/list' ? tools('t') : { prompts: [{ name: 'p' }] })
    await connect()
    keeper.notified('notifications/tools/list_changed')
    await clock.pass(1_000)
    expect(asked.map(({ method }) => method)).toEqual(['tools/list', 'prompts/list', 'tools/list'])
  })

  verifies(
    ['D46', 'E67'],
    'stays when it cannot be fetched anew, with the reason, and one failure is everyones',
    async () => {
      const { keeper, clock, asked, server, connect } = world()
      server.lists = () => tools('t')
      await connect()
      server.lists = () => failure('broken')
      await Promise.all(Array.from({ length: 100 }, () => keeper.refresh()))
      expect(asked).toHaveLength(2)
      expect(keeper.current.tools).toMatchObject({ state: 'failed', reason: 'broken' })
      expect(names(keeper)).toEqual(['t'])
      for (let i = 0; i < 1_000; i += 1) expect(keeper.look('tools')).toBeNull()
      await clock.pass(4_900)
      expect(asked).toHaveLength(2)
      server.lists = () => tools('t')
      await clock.pass(200)
      expect(keeper.current.tools).toMatchObject({ state: 'live' })
    },
  )

  verifies(['D51'], 'is never replaced by the late answer to an older question', async () => {
    const { keeper, clock, asked, server, connect } = world()
    await connect()
    keeper.disconnected()
    server.lists = () => tools('new')
    await connect()
    asked[0]?.answer(tools('old'))
    await clock.pass(1_000)
    expect(names(keeper)).toEqual(['new'])
  })

  verifies(
    ['D52'],
    'is old while the server is away, asked for when it is back, and the same objects where nothing changed',
    async () => {
      const { keeper, asked, server, connect } = world()
      server.lists = () => tools('a', 'b')
      await connect()
      const before = itemsIn(keeper.current.tools)
      keeper.disconnected()
      expect(keeper.current.tools).toMatchObject({ state: 'stale' })
      await connect()
      expect(asked).toHaveLength(2)
      expect(itemsIn(keeper.current.tools)).toBe(before)
      server.lists = () => tools('a', 'c')
      await keeper.refresh()
      const after = itemsIn(keeper.current.tools)
      expect(after).not.toBe(before)
      expect(after[0]).toBe(before[0])
    },
  )

  test('is forgotten after LIMITS.staleMs without the server, unless it only sleeps', async () => {
    for (const asleep of [false, true]) {
      const { keeper, clock, server, connect } = world()
      server.lists = () => tools('t')
      await connect()
      server.asleep = asleep
      keeper.disconnected()
      await clock.pass(LIMITS.staleMs - 1)
      expect(names(keeper)).toEqual(['t'])
      await clock.pass(1)
      expect(names(keeper)).toEqual(asleep ? ['t'] : [])
      keeper.stop()
      expect(clock.armed).toBe(0)
    }
  })

  test('waits where the server asked for a rest', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.lists = () => tools('t')
    await connect()
    server.restMs = 3_000
    const done = keeper.refresh()
    await clock.pass(2_900)
    expect(asked).toHaveLength(1)
    server.restMs = 0
    await clock.pass(100)
    await done
    expect(asked).toHaveLength(2)
  })
})

describe('an announced change', () => {
  verifies(['D49'], 'costs one fetch, and a thousand of them in a second two', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.lists = () => tools('t')
    await connect()
    for (let i = 0; i < 1_000; i += 1) {
      keeper.notified('notifications/tools/list_changed')
      await clock.pass(1)
    }
    expect(asked).toHaveLength(2)
    await clock.pass(10_000)
    expect(asked).toHaveLength(3)
  })

  verifies(['D50'], 'during a fetch leads to one more', async () => {
    const { keeper, clock, asked, connect } = world()
    await connect()
    keeper.notified('notifications/tools/list_changed')
    asked[0]?.answer(tools('old'))
    await clock.pass(99)
    expect(asked).toHaveLength(1)
    await clock.pass(1)
    asked[1]?.answer(tools('new'))
    await clock.pass(0)
    expect(names(keeper)).toEqual(['new'])
  })

  test('is suspected once in a while where the server denies what it listed', async () => {
    const { keeper, clock, asked, server, connect } = world()
    server.lists = () => tools('t')
    await connect()
    for (let i = 0; i < 100; i += 1) {
      keeper.suspect(['tools'])
      await clock.pass(1_000)
    }
    expect(asked).toHaveLength(2)
  })
})
