import { describe, expect, test } from 'vitest'
import { said, spec } from '../../test/kit/own-instances.js'
import { opensLate, reloadable, server } from '../../test/kit/reloadable.js'
import { failedWith, lost } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { LIMITS } from '../model/index.js'

/** Each identity has its own. */
const own = (name: string, version = '1') => server(name, version, { isolation: 'principal' })

describe('a server that a reload does not touch', () => {
  verifies(['M151'], 'keeps connection, calls, breaker, counts and what is cached', async () => {
    const kept = server('a', '1', { cacheResults: [{ pattern: 't', ttlMs: 60_000 }] })
    const { runtime, clock, reload, begin, call, opened, living } = await reloadable(kept, server('b'))
    const [supervisor] = runtime.supervisors.values()
    const base = supervisor?.connection
    if (!supervisor || !base) throw new Error('it does not run')
    expect(await call('a__t', 'local')).toBe('1')
    const slow = begin('a__wait', 'local')
    await clock.pass(0)
    for (let at = 0; at < 5; at += 1) supervisor.record(failedWith('no answer'), base, clock.now())
    const facts = () => ({
      breaker: supervisor.watch.breaker,
      budget: supervisor.budget,
      inFlight: supervisor.inFlight,
      calls: supervisor.calls,
      view: runtime.snapshot.upstreams.get('a'),
      asked: opened[0]?.asked.length,
      connection: supervisor.connection,
    })
    const before = facts()
    expect(before).toMatchObject({ breaker: { kind: 'open' }, inFlight: 1, calls: 1 })
    await reload(server('c'), structuredClone(kept), server('b', '2'))
    expect(runtime.supervisors.get('a')).toBe(supervisor)
    const after = facts()
    for (const [key, value] of Object.entries(before)) expect(after[key as keyof typeof after]).toBe(value)
    // Kept, whatever the breaker says.
    expect(await call('a__t', 'local')).toBe('1')
    expect(opened[0]?.asked).toHaveLength(before.asked ?? 0)
    slow.cancel()
    expect(living()).toEqual(['a1', 'b2', 'c1'])
  })

  verifies(
    ['M151'],
    'and one that changes in place is the same process under its new names at once',
    async () => {
      const { runtime, clock, reload, tools, begin, call, versions } = await reloadable(server('a'))
      const told: string[] = []
      runtime.onListChanged({ kind: 'all' }, kind => told.push(kind), { principal: 'local' })
      const { connection } = runtime.supervisors.get('a') ?? {}
      const slow = begin('a__wait', 'local')
      await runtime.reload([server('a', '1', { prefix: 'z', tools: { deny: ['v*'] } })])
      expect(runtime.snapshot.catalog.listed.tools.map(({ key }) => key)).toEqual(['z__t', 'z__wait'])
      expect(runtime.supervisors.get('a')?.connection).toBe(connection)
      await clock.pass(1_000)
      expect(told.sort()).toEqual(['resources', 'tools'])
      expect(await call('z__t', 'local')).toBe('1')
      expect(await call('a__t', 'local')).toBe('NOT_FOUND')
      expect(runtime.running).toBe(1)
      slow.cancel()
      await reload(server('a', '1', { prefix: 'z' }))
      expect(await tools()).toEqual(['z__t', 'z__wait', 'z__v1'])
      expect(versions()).toEqual(['a1'])
    },
  )

  test('with a smaller bound lets what is under way finish, and no more in', async () => {
    const bound = (maxInFlight: number) =>
      server('a', '1', { supervision: { ...server('a').supervision, maxInFlight } })
    const { runtime, clock, reload, begin } = await reloadable(bound(3))
    const calls = [1, 2, 3].map(() => begin('a__wait', 'local'))
    await reload(bound(1))
    begin('a__t', 'local')
    await clock.pass(0)
    const { admission } = runtime.supervisors.get('a') ?? {}
    expect([admission?.inFlight, admission?.queued]).toEqual([3, 1])
    for (const one of calls) one.cancel()
    await clock.pass(5_500)
    expect([admission?.inFlight, admission?.queued]).toEqual([0, 0])
  })
})

describe('a call that waits for a place', () => {
  for (const isolation of ['shared', 'principal'] as const) {
    test(`at the old version goes on at the new one, and at none when there is none (${isolation})`, async () => {
      const bound = (version: string) =>
        server('a', version, { isolation, supervision: { ...server('a').supervision, maxInFlight: 1 } })
      const { runtime, clock, reload, begin, versions } = await reloadable(bound('1'))
      await runtime.list('tools', { kind: 'all' }, null, { principal: 'ann' })
      await clock.pass(100)
      begin('a__wait', 'ann')
      const queued = [begin('a__t', 'ann'), begin('a__wait', 'ann'), begin('a__t', 'ann')]
      await clock.pass(100)
      const startedAt = clock.now()
      await reload(bound('2'))
      expect(said(await (queued[0] ?? begin('a__t', 'ann')).outcome)).toBe('2')
      await reload()
      await clock.pass(0)
      expect(said(await (queued[2] ?? begin('a__t', 'ann')).outcome)).toBe('UPSTREAM_REMOVED')
      expect(clock.now() - startedAt).toBeLessThan(1_000)
      expect(versions()).toEqual(['a1', 'a2'])
      await clock.pass(60_000)
      expect(versions()).toEqual(['a1 ended', 'a2 ended'])
      expect(runtime.running).toBe(0)
    })
  }
})

describe('whoever follows a resource', () => {
  test('hears nothing when another server is removed', async () => {
    const { reload, follow, opened, clock } = await reloadable(server('a'), server('b'))
    const [a, b] = [await follow('a'), await follow('b')]
    await reload(server('a'))
    await clock.pass(5_000)
    expect([a.told, b.told]).toEqual([['stands'], ['stands']])
    // Back again, it is followed again, and what was missed is told.
    await reload(server('a'), server('b', '2'))
    await clock.pass(5_000)
    expect([a.told, b.told]).toEqual([['stands'], ['stands', 'updated']])
    expect(opened.at(-1)?.followed).toEqual(new Set(['note:///n']))
  })

  test('keeps a new version awake that is lazy', async () => {
    const { reload, follow, clock, living } = await reloadable(server('a'))
    const { told } = await follow('a')
    await reload(server('a', '2', { lazy: true }))
    await clock.pass(1_000)
    expect(living()).toEqual(['a2'])
    expect(told).toEqual(['stands', 'updated'])
  })

  test('of an instance of their own follows the next one, and others hear nothing', async () => {
    const { reload, follow, clock, opened } = await reloadable(own('a'), own('b'))
    const [a, b] = [await follow('a', 'ann'), await follow('b', 'ann')]
    await reload(own('a', '2'), own('b'))
    await clock.pass(5_000)
    expect([a.told, b.told]).toEqual([['stands', 'updated'], ['stands']])
    const followers = opened.filter(({ ended, followed }) => !ended && followed.size > 0)
    expect(followers.map(({ spec: { name, transport } }) => [name, transport])).toEqual([
      ['b', own('b').transport],
      ['a', own('a', '2').transport],
    ])
  })
})

describe('a server of which each identity gets its own', () => {
  test('is listened to there from then on, and back again where all share it', async () => {
    const { runtime, clock, reload, follow, opened } = await reloadable(server('a'), server('b'))
    const told: string[] = []
    const leave = runtime.onListChanged({ kind: 'all' }, kind => told.push(kind), { principal: 'ann' })
    const [a, b] = [await follow('a', 'ann'), await follow('b', 'ann')]
    await reload(own('a', '2'), server('b'))
    await clock.pass(5_000)
    // Nobody called anything.
    expect(runtime.instances('a')).toMatchObject({ total: 1, unhealthy: 0 })
    expect(told).toContain('tools')
    expect(a.told).toEqual(['stands', 'updated'])
    const followed = () =>
      opened.filter(made => !made.ended && made.followed.size > 0).map(made => made.upstream)
    expect(followed().sort()).toEqual(['a', 'b'])
    told.splice(0)
    await reload(server('a', '3'), server('b'))
    await clock.pass(5_000)
    expect(told).toContain('tools')
    // Once for the change of hands, and perhaps once more when it is taken up.
    expect(new Set(a.told.slice(2))).toEqual(new Set(['updated']))
    for (const one of [a, b]) one.end()
    leave()
    expect(followed()).toEqual([])
    told.splice(0)
    await reload(server('a', '4'), server('b'))
    await clock.pass(5_000)
    expect(told).toEqual([])
  })
})

describe('an instance of one identity', () => {
  const late = async () => {
    const world = await reloadable(own('a'))
    opensLate(world, '1', 3_600_000)
    const call = world.begin('a__t', 'ann')
    await world.clock.pass(100)
    return { ...world, call }
  }

  test('that a reload replaces hands on the calls that wait for its start', async () => {
    const world = await reloadable(own('a'))
    const { runtime, clock, reload, begin } = world
    await runtime.list('tools', { kind: 'all' }, null, { principal: 'ann' })
    await clock.pass(700_000)
    opensLate(world, '1', 3_600_000)
    const call = begin('a__t', 'ann')
    await clock.pass(100)
    const startedAt = clock.now()
    await reload(own('a', '2'))
    expect(said(await call.outcome)).toBe('2')
    expect(clock.now() - startedAt).toBeLessThan(1_000)
  })

  test('that a reload removes refuses them at once', async () => {
    const { clock, reload, call } = await late()
    const startedAt = clock.now()
    await reload()
    await clock.pass(0)
    expect(['UPSTREAM_REMOVED', 'NOT_FOUND']).toContain(said(await call.outcome))
    expect(clock.now() - startedAt).toBeLessThan(1_000)
  })

  test('of a server that all share from now on hands them on to that one', async () => {
    const { clock, reload, call } = await late()
    const startedAt = clock.now()
    await reload(server('a', '2'))
    expect(said(await call.outcome)).toBe('2')
    expect(clock.now() - startedAt).toBeLessThan(1_000)
  })

  test('that dies before its time does not start again', async () => {
    const { clock, reload, begin, opened, versions, runtime } = await reloadable(own('a'))
    await runtime.list('tools', { kind: 'all' }, null, { principal: 'ann' })
    await clock.pass(120_000)
    begin('a__wait', 'ann')
    await clock.pass(0)
    await reload(own('a', '2'))
    opened[0]?.events.closed(lost('it crashed'))
    await clock.pass(60_000)
    expect(versions()).toEqual(['a1 ended'])
  })

  test('has the new options too, also those of its start', async () => {
    const patient = { ...spec('a').timeouts, start: 1_234 }
    const { clock, reload, opened, runtime, begin } = await reloadable(own('a'))
    await runtime.list('tools', { kind: 'all' }, null, { principal: 'ann' })
    await clock.pass(0)
    await reload({ ...own('a'), timeouts: patient, prefix: 'z' })
    expect(said(await begin('z__t', 'ann').outcome)).toBe('1')
    expect(opened[0]?.spec.timeouts).toEqual(patient)
    await clock.pass(700_000)
    await reload({ ...own('a'), timeouts: patient, prefix: 'y' })
    const names = runtime.snapshotFor({ principal: 'ann' }).catalog.listed.tools.map(({ key }) => key)
    expect(names).toEqual(['y__t', 'y__wait', 'y__v1'])
  })
})

test('an instance that had to make room is not listed under names of before', async () => {
  const { clock, reload, runtime, tools } = await reloadable(own('a'))
  const told: string[] = []
  runtime.onListChanged({ kind: 'all' }, kind => told.push(kind), { principal: 'first' })
  const first = tools('first')
  await clock.pass(1_000)
  await first
  for (let user = 0; user < LIMITS.instances; user += 1) {
    const page = tools(`u${user}`)
    await clock.pass(1)
    await page
  }
  const names = () => runtime.snapshotFor({ principal: 'first' }).catalog.listed.tools.map(({ key }) => key)
  expect(names()).toEqual(['a__t', 'a__wait', 'a__v1'])
  told.splice(0)
  await reload({ ...own('a'), prefix: 'z' })
  expect(names()).toEqual([])
  await clock.pass(1_000)
  expect(told).toContain('tools')
  const page = tools('first')
  await clock.pass(10)
  expect(await page).toEqual(['z__t', 'z__wait', 'z__v1'])
})

test('a server that comes back has the time of a new one for its first list', async () => {
  const world = await reloadable(own('a'))
  const { clock, reload, runtime, tools } = world
  expect(await tools()).toEqual(['a__t', 'a__wait', 'a__v1'])
  await reload()
  await clock.pass(60_000)
  await reload(own('a', '2'))
  opensLate(world, '2', 1_000)
  const page = runtime.list('tools', { kind: 'all' }, null, { principal: 'local' })
  await clock.pass(1_500)
  expect((await page).items).toHaveLength(3)
})
