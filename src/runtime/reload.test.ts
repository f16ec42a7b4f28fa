import { describe, expect, test } from 'vitest'
import { said } from '../../test/kit/own-instances.js'
import { opensLate, refuses, reloadable, server, versionOf } from '../../test/kit/reloadable.js'
import { lost } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'

describe('a reload of the same values', () => {
  test('changes nothing, not even the snapshot', async () => {
    const { runtime, reload } = await reloadable(server('a'))
    const { snapshot, entries } = runtime
    const { plan } = await reload(structuredClone(server('a')))
    expect(plan.kept).toEqual(['a'])
    expect(runtime.snapshot).toBe(snapshot)
    expect(runtime.entries).toBe(entries)
  })
})

describe('a new version', () => {
  test('takes its place once it is ready with its lists, and no moment is without them', async () => {
    const world = await reloadable(server('a'))
    const { runtime, clock, reload, living, tools, call } = world
    opensLate(world, '2', 3_000)
    const seen = new Set<string>()
    runtime.store.onCommit(({ catalog }) => seen.add(catalog.listed.tools.map(({ key }) => key).join(' ')))
    const done = reload(server('a', '2'))
    await clock.pass(2_000)
    expect(await call('a__t', 'local')).toBe('1')
    await clock.pass(2_000)
    expect(await done).toMatchObject({ failed: [] })
    expect(await tools()).toEqual(['a__t', 'a__wait', 'a__v2'])
    expect(await call('a__t', 'local')).toBe('2')
    expect(living()).toEqual(['a2'])
    expect([...seen]).toEqual(['a__t a__wait a__v2'])
  })

  test('that does not start leaves the old one where it is, until the next reload tries again', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { runtime, clock, reload, living, call, behaviour } = world
    refuses(world, '2')
    const { plan, failed } = await reload(server('a', '2'), server('b', '1', { prefix: 'z' }))
    expect(plan).toMatchObject({ restarted: ['a'], updated: [{ name: 'b', options: ['prefix'] }] })
    expect(failed).toEqual([{ upstream: 'a', reason: 'no database' }])
    expect(runtime.entries).toEqual([server('a'), server('b', '1', { prefix: 'z' })])
    expect([await call('a__t', 'local'), await call('z__t', 'local')]).toEqual(['1', '1'])
    await clock.pass(600_000)
    expect(living()).toEqual(['a1', 'b1'])
    behaviour.opening = () => null
    expect(await reload(server('a', '2'), server('b', '1', { prefix: 'z' }))).toMatchObject({ failed: [] })
    expect(living()).toEqual(['b1', 'a2'])
  })

  test('that takes its place as soon as it is ready, where that is after more than five seconds', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { runtime, clock, reload, living, versions, call, later } = world
    opensLate(world, '2', 15_000)
    const done = reload(server('a', '2'), server('b', '1', { prefix: 'z' }))
    await clock.pass(4_800)
    expect(await call('a__t', 'local')).toBe('1')
    await clock.pass(200)
    // Nothing else waits for it.
    expect(await done).toMatchObject({ failed: [], late: ['a'] })
    expect(runtime.entries).toEqual([server('a'), server('b', '1', { prefix: 'z' })])
    expect(await call('z__t', 'local')).toBe('1')
    await clock.pass(60_000)
    expect(living()).toEqual(['b1', 'a2'])
    expect(versions()).toEqual(['a1 ended', 'b1', 'a2'])
    expect(await call('a__t', 'local')).toBe('2')
    expect(later).toMatchObject([
      { kind: 'applied', applied: { plan: { restarted: ['a'], kept: ['b'] }, failed: [], late: [] } },
    ])
  })

  test('that is late and fails in the end leaves the old one; a later reload takes it as it is', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { clock, reload, living, opened, later, behaviour } = world
    const fails = () =>
      new Promise((_, reject) => clock.after(15_000, () => reject(new Error('no database'))))
    behaviour.opening = (_, __, own) => (versionOf(own) === '2' ? fails() : null)
    const done = reload(server('a', '2'), server('b'))
    await clock.pass(10_000)
    expect((await done).late).toEqual(['a'])
    const before = clock.now()
    const { late, failed } = await reload(server('a', '2'), server('b', '1', { prefix: 'z' }))
    expect({ late, failed, took: clock.now() - before }).toEqual({ late: ['a'], failed: [], took: 100 })
    expect(opened).toHaveLength(2)
    await clock.pass(60_000)
    expect(living()).toEqual(['a1', 'b1'])
    expect(later).toEqual([{ kind: 'failed', failed: { upstream: 'a', reason: 'no database' } }])
  })

  test('that is late is dropped when it is wanted no more, and ends with the gateway', async () => {
    for (const end of ['another', 'the old one', 'none', 'stop', 'kill'] as const) {
      const world = await reloadable(server('a'))
      const { runtime, clock, reload, living, later } = world
      opensLate(world, '2', 15_000)
      void reload(server('a', '2'))
      await clock.pass(11_000)
      if (end === 'another') await reload(server('a', '3'))
      else if (end === 'the old one') await reload(server('a'))
      else if (end === 'none') await reload()
      else void runtime[end]()
      await clock.pass(60_000)
      const left = { another: ['a3'], 'the old one': ['a1'], none: [], stop: [], kill: [] }
      expect(living(), end).toEqual(left[end])
      expect(later, end).toEqual([])
    }
  })

  test('that is late takes the place of one that failed meanwhile', async () => {
    const world = await reloadable(server('a'))
    const { clock, reload, opened, living, call } = world
    opensLate(world, '2', 15_000)
    void reload(server('a', '2'))
    await clock.pass(11_000)
    refuses(world, '1')
    opened[0]?.events.closed(lost('it crashed'))
    await clock.pass(10_000)
    expect(living()).toEqual(['a2'])
    expect(await call('a__t', 'local')).toBe('2')
    expect(opened.filter(({ spec: own }) => versionOf(own) === '2')).toHaveLength(1)
  })

  test('that is late and fails takes the place where that is wished, and not before', async () => {
    const world = await reloadable(server('a'))
    const { runtime, clock, reload, living, later, behaviour } = world
    const fails = () =>
      new Promise((_, reject) => clock.after(15_000, () => reject(new Error('no database'))))
    behaviour.opening = (_, __, own) => (versionOf(own) === '2' ? fails() : null)
    const done = reload(server('a', '2', { onUpdateFailure: 'replace' }))
    await clock.pass(14_000)
    expect(await done).toMatchObject({ failed: [], late: ['a'] })
    expect(living()).toEqual(['a1'])
    await clock.pass(10_000)
    expect(living()).toEqual([])
    expect(runtime.entries).toEqual([server('a', '2', { onUpdateFailure: 'replace' })])
    expect(later).toMatchObject([{ kind: 'applied', applied: { failed: [], late: [] } }])
  })

  test('that ended again while another one was tried does not take its place', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { clock, reload, opened, living } = world
    opensLate(world, '3', 5_000)
    const done = reload(server('a', '2'), server('b', '3'))
    await clock.pass(1_000)
    refuses(world, '2')
    expect(living()).toEqual(['a1', 'b1', 'a2'])
    opened[2]?.events.closed(lost('it crashed'))
    await clock.pass(5_000)
    expect((await done).failed).toEqual([
      { upstream: 'a', reason: expect.stringContaining('it ended again') },
    ])
    await clock.pass(60_000)
    expect(living()).toEqual(['a1', 'b3'])
  })

  test('takes the place at once where the old one does not work, or the new one is lazy', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { runtime, clock, reload, living, tools, call } = world
    refuses(world, '1')
    await runtime.actions('a')?.restart()
    await clock.pass(0)
    expect(runtime.snapshot.upstreams.get('a')?.state).toBe('backoff')
    const before = clock.now()
    await reload(server('a', '2'), server('b', '2', { lazy: true }))
    expect(clock.now() - before).toBe(100)
    expect(living()).toEqual(['a2'])
    // What the old one offered is known until there is something newer.
    expect(await tools()).toEqual(['a__t', 'a__wait', 'a__v2', 'b__t', 'b__wait', 'b__v1'])
    expect(await call('b__t', 'local')).toBe('2')
    await clock.pass(100)
    expect(await tools()).toContain('b__v2')
  })

  test('of a server that a person switched off stays off', async () => {
    const { runtime, clock, reload, versions } = await reloadable(server('a'))
    await runtime.actions('a')?.disable()
    await reload(server('a', '2'))
    await clock.pass(60_000)
    expect(runtime.snapshot.upstreams.get('a')?.state).toBe('disabled')
    expect(versions()).toEqual(['a1 ended'])
    runtime.actions('a')?.enable()
    await clock.pass(0)
    expect(versions()).toEqual(['a1 ended', 'a2'])
  })

  test('of one that is starting takes over whoever waits for it', async () => {
    const world = await reloadable()
    const { clock, reload, living, begin } = world
    opensLate(world, '1', 60_000)
    await reload(server('a'))
    const call = begin('a__t', 'local')
    await clock.pass(1_000)
    await reload(server('a', '2'))
    expect(said(await call.outcome)).toBe('2')
    await clock.pass(90_000)
    expect(living()).toEqual(['a2'])
  })

  test('is tried to its end before the next reload is looked at', async () => {
    const world = await reloadable(server('a'), server('b'))
    const { runtime, clock, living, versions } = world
    opensLate(world, '2', 3_000)
    world.behaviour.making = own => {
      if (own.name === 'c') throw new Error('no room')
    }
    const dones = [[server('a', '2')], [server('c')], [server('a', '3'), server('b')]].map(wanted =>
      runtime.reload(wanted).catch((thrown: unknown) => thrown),
    )
    await clock.pass(5_000)
    const [first, second, third] = await Promise.all(dones)
    expect(first).toMatchObject({ plan: { removed: ['b'], restarted: ['a'] }, failed: [] })
    expect(second).toMatchObject({ upstream: 'c' })
    expect(third).toMatchObject({ plan: { added: ['b'], restarted: ['a'] }, failed: [] })
    expect(versions()).toEqual(['a1 ended', 'b1 ended', 'a2 ended', 'a3', 'b1'])
    expect(living()).toEqual(['a3', 'b1'])
  })

  for (const how of ['stop', 'kill'] as const) {
    test(`is gone with the gateway, also one that waits for others to be ready (${how})`, async () => {
      const world = await reloadable(server('a'), server('b'))
      const { runtime, clock, reload, living } = world
      opensLate(world, '3', 8_000)
      const done = reload(server('a', '2'), server('b', '3'))
      await clock.pass(1_000)
      expect(living()).toEqual(['a1', 'b1', 'a2'])
      const left: string[] = []
      if (how === 'kill') runtime.kill()
      else void runtime.stop().then(() => left.push(...living()))
      await clock.pass(0)
      expect(living()).toEqual([])
      await clock.pass(60_000)
      expect(await done).toMatchObject({ failed: [] })
      expect([left, living()]).toEqual([[], []])
      expect(clock.armed).toBe(0)
    })
  }
})

describe('an exclusive server', () => {
  test('ends before its new version starts, and calls wait for that', async () => {
    const { clock, reload, versions, begin } = await reloadable(server('a', '1', { exclusive: true }))
    const last = begin('a__wait', 'local')
    await reload(server('a', '2', { exclusive: true }))
    const next = begin('a__t', 'local')
    await clock.pass(20_000)
    expect(versions()).toEqual(['a1'])
    last.cancel()
    await clock.pass(200)
    expect(versions()).toEqual(['a1 ended', 'a2'])
    expect(said(await next.outcome)).toBe('2')
  })

  test('waits also where a call needs it from the first moment on', async () => {
    const bound = (version: string) =>
      server('a', version, { exclusive: true, supervision: { ...server('a').supervision, maxInFlight: 1 } })
    const { clock, reload, versions, begin } = await reloadable(bound('1'))
    const last = begin('a__wait', 'local')
    const next = begin('a__t', 'local')
    await clock.pass(100)
    await reload(bound('2'))
    await clock.pass(10_000)
    expect(versions()).toEqual(['a1'])
    last.cancel()
    await clock.pass(200)
    expect(said(await next.outcome)).toBe('2')
    expect(versions()).toEqual(['a1 ended', 'a2'])
  })

  test('waits for every older version that still has calls, also when it was gone in between', async () => {
    const { clock, reload, versions, begin } = await reloadable(server('a', '1'))
    begin('a__wait', 'local')
    await reload(server('a', '2'))
    begin('a__wait', 'local')
    await reload()
    await reload(server('a', '3', { exclusive: true }))
    await clock.pass(20_000)
    expect(versions()).toEqual(['a1', 'a2'])
    await clock.pass(6_000)
    expect(versions()).toEqual(['a1 ended', 'a2 ended', 'a3'])
  })
})

describe('an old version', () => {
  verifies(['M156'], 'has 25 seconds for what is under way, whatever is reloaded meanwhile', async () => {
    const { clock, reload, living, begin, runtime } = await reloadable(server('a'))
    const call = begin('a__wait', 'local')
    await reload(server('a', '2'))
    await reload(server('a', '3'))
    expect(living()).toEqual(['a1', 'a3'])
    await clock.pass(24_700)
    expect(living()).toEqual(['a1', 'a3'])
    await clock.pass(400)
    expect(living()).toEqual(['a3'])
    expect(said(await call.outcome)).toBe('OUTCOME_UNKNOWN')
    expect(runtime.running).toBe(0)
  })

  test('that dies before its time does not start again', async () => {
    const { clock, reload, opened, begin, versions } = await reloadable(server('a'))
    await clock.pass(120_000)
    begin('a__wait', 'local')
    await reload(server('a', '2'))
    opened[0]?.events.closed(lost('it crashed'))
    await clock.pass(60_000)
    expect(versions()).toEqual(['a1 ended', 'a2'])
  })

  test('that was removed ends likewise, and its timers with it', async () => {
    const { clock, runtime, reload, begin, living, call } = await reloadable(server('a'))
    begin('a__wait', 'local')
    await reload()
    expect(await call('a__t', 'local')).toBe('UPSTREAM_REMOVED')
    expect([...runtime.snapshot.upstreams.keys()]).toEqual([])
    await clock.pass(26_000)
    expect(living()).toEqual([])
    expect(clock.armed).toBe(0)
  })
})

describe('a change in place', () => {
  test('of a server that never started keeps nobody waiting for it once it is disabled', async () => {
    const { runtime, reload } = await reloadable(server('a', '1', { lazy: true }))
    await reload(server('a', '1', { lazy: false, enabled: false }))
    expect(runtime.snapshot.upstreams.get('a')).toMatchObject({ state: 'disabled', settled: true })
  })
})

describe('a server that a reload enables', () => {
  test('starts, unless it is lazy', async () => {
    const off = [server('a', '1', { enabled: false }), server('b', '1', { enabled: false })]
    const { runtime, clock, reload, versions, call } = await reloadable(...off)
    await reload(server('a'), server('b', '1', { lazy: true }))
    await clock.pass(1_000)
    expect(versions()).toEqual(['a1'])
    expect(runtime.snapshot.upstreams.get('b')).toMatchObject({ state: 'idle', settled: true })
    expect(await call('b__t', 'local')).toBe('1')
  })
})

describe('another order', () => {
  test('decides anew who has a name that two servers offer, and touches neither', async () => {
    const [a, b] = [server('a', '1', { prefix: 'x' }), server('b', '2', { prefix: 'x' })]
    const { reload, tools, call, versions } = await reloadable(a, b)
    expect(await tools()).toEqual(['x__t', 'x__wait', 'x__v1', 'x__v2'])
    expect(await call('x__t', 'local')).toBe('1')
    const { plan } = await reload(b, a)
    expect(plan).toMatchObject({ kept: ['b', 'a'], reordered: true })
    expect(await tools()).toEqual(['x__t', 'x__wait', 'x__v2', 'x__v1'])
    expect(await call('x__t', 'local')).toBe('2')
    expect(await call('a__t', 'local')).toBe('1')
    expect(versions()).toEqual(['a1', 'b2'])
  })
})

describe('the lists of a version that does not work yet', () => {
  test('are those of the one before, and pin nothing for another server', async () => {
    const world = await reloadable(server('a', '1', { pin: 'enforce' }))
    const { clock, reload, tools } = world
    refuses(world, '2')
    await reload(server('a', '2', { pin: 'enforce', onUpdateFailure: 'replace' }))
    expect(await tools()).toEqual(['a__t', 'a__wait', 'a__v1'])
    world.behaviour.opening = () => null
    await clock.pass(60_000)
    expect(await tools()).toEqual(['a__t', 'a__wait', 'a__v2'])
  })
})
