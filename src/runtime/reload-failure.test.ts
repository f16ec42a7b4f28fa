import { describe, expect, test } from 'vitest'
import { said } from '../../test/kit/own-instances.js'
import { type Reloadable, refuses, reloadable, server, versionOf } from '../../test/kit/reloadable.js'
import { verifies } from '../../test/kit/verifies.js'
import type { Entry } from '../core/reload/index.js'
import type { UpstreamSpec } from '../model/index.js'

const broken = (name: string, problem: string): Entry => ({ name, prefix: name, problem })

/** What must be as it was. */
function stateOf({ runtime, living, clock }: Reloadable) {
  return {
    snapshot: [...runtime.snapshot.upstreams],
    entries: runtime.entries,
    supervisors: [...runtime.supervisors],
    specs: [...runtime.supervisors.values()].map(({ spec }) => ({ ...spec })),
    living: living(),
    armed: clock.armed,
  }
}

/** a stays, b is changed, c changes in place, d goes, e comes. */
const BEFORE = [server('a'), server('b'), server('c'), server('d')]
const AFTER = [server('e'), server('c', '1', { prefix: 'z' }), server('b', '2'), server('a')]

const FAULTS: Readonly<Record<string, (world: Reloadable) => string>> = {
  'the client object of a new server': ({ behaviour }) => {
    behaviour.making = own => failFor(own, 'e1')
    return 'e'
  },
  'the client object of a changed server': ({ behaviour }) => {
    behaviour.making = own => failFor(own, 'b2')
    return 'b'
  },
  'a change in place': ({ runtime }) => {
    const supervisor = runtime.supervisors.get('c')
    const retune = supervisor?.retune.bind(supervisor)
    let times = 0
    if (supervisor)
      supervisor.retune = options => {
        retune?.(options)
        times += 1
        if (times === 1) throw new Error('no room')
      }
    return 'c'
  },
  'a change of hands': ({ runtime }) => {
    const old = runtime.supervisors.get('b')
    if (old) Object.defineProperty(old, 'isLeaving', { get: () => false, set: is => is && fail() })
    return 'b'
  },
}

/** An entry that fails in the last moment, when it is to be shown. */
const LATE = Object.defineProperty({ name: 'x', problem: 'no url' }, 'prefix', { get: fail }) as Entry

function failFor(own: UpstreamSpec, which: string): void {
  if (own.name + versionOf(own) === which) fail()
}

function fail(): never {
  throw new Error('no room')
}

describe('a reload that fails in the middle', () => {
  for (const [what, inject] of Object.entries(FAULTS)) {
    verifies(['M153'], `changes nothing: ${what}`, async () => {
      const world = await reloadable(...BEFORE)
      const { runtime, clock, reload, call, begin, opened } = world
      const slow = begin('b__wait', 'local')
      await clock.pass(0)
      const before = stateOf(world)
      const upstream = inject(world)
      let commits = 0
      runtime.store.onCommit(() => {
        commits += 1
      })
      const failure = await runtime.reload(AFTER).catch((thrown: unknown) => thrown)
      expect(failure).toMatchObject({
        code: 'INTERNAL',
        upstream,
        message: `${upstream}: it cannot be taken over: no room`,
      })
      await clock.pass(1_000)
      expect({ ...stateOf(world), snapshot: [] }).toEqual({ ...before, snapshot: [] })
      // The lists of one that was changed and changed back were fetched again.
      const steady = ([name]: readonly [string, unknown]) => name !== 'c'
      expect(stateOf(world).snapshot.filter(steady)).toEqual(before.snapshot.filter(steady))
      expect(runtime.snapshot.catalog.listed.tools.map(({ key }) => key)).toContain('c__t')
      for (const name of ['a', 'b', 'c', 'd']) expect(await call(`${name}__t`, 'local')).toBe('1')
      expect(await call('e__t', 'local')).toBe('NOT_FOUND')
      // Whatever came of it has its place again, and is told of.
      opened[1]?.events.notification('notifications/tools/list_changed', null)
      await clock.pass(10_000)
      expect(commits).toBeGreaterThan(0)
      slow.cancel()
      await reload(...BEFORE.slice(1))
      expect([...runtime.snapshot.upstreams.keys()]).toEqual(['b', 'c', 'd'])
    })
  }

  verifies(['M153'], 'ends the new versions that were ready by then', async () => {
    const world = await reloadable(...BEFORE)
    const { runtime, clock, living, versions, opened } = world
    const done = runtime.reload(AFTER).catch((thrown: unknown) => thrown)
    FAULTS['a change in place']?.(world)
    await clock.pass(5_000)
    expect(await done).toMatchObject({ upstream: 'c' })
    expect(versions()).toEqual(['a1', 'b1', 'c1', 'd1', 'b2 ended'])
    await clock.pass(60_000)
    expect(living()).toEqual(['a1', 'b1', 'c1', 'd1'])
    expect(opened).toHaveLength(5)
    expect(await runtime.stop()).toEqual([])
    await clock.pass(60_000)
    expect(clock.armed).toBe(0)
  })

  verifies(['M153'], 'in its last moment has ended nothing that is not started again', async () => {
    const own = (version: string) => server('i', version, { isolation: 'principal' })
    const world = await reloadable(server('c'), own('1'), server('d'))
    const { runtime, clock, call, tools, versions } = world
    await tools('ann')
    await clock.pass(100)
    expect(await call('i__t', 'ann')).toBe('1')
    const wanted = [server('c', '1', { enabled: false }), own('2'), LATE]
    const failure = await runtime.reload(wanted).catch((thrown: unknown) => thrown)
    expect(failure).toMatchObject({ upstream: 'x', message: 'x: it cannot be taken over: no room' })
    expect(runtime.snapshot.upstreams.get('c')?.state).toBe('starting')
    await clock.pass(100)
    expect([...runtime.snapshot.upstreams.keys()]).toEqual(['c', 'i', 'd'])
    for (const name of ['c', 'd', 'i']) expect(await call(`${name}__t`, 'ann')).toBe('1')
    expect(versions()).not.toContain('i2')
  })

  test('can be made again', async () => {
    const world = await reloadable(...BEFORE)
    const { runtime, reload, clock, living, tools, behaviour } = world
    FAULTS['the client object of a new server']?.(world)
    await runtime.reload(AFTER).catch(() => undefined)
    behaviour.making = () => undefined
    expect(await reload(...AFTER)).toMatchObject({ failed: [] })
    await clock.pass(1_000)
    expect(living().sort()).toEqual(['a1', 'b2', 'c1', 'e1'])
    expect(await tools()).toEqual([
      'e__t',
      'e__wait',
      'e__v1',
      'z__t',
      'z__wait',
      'z__v1',
      'b__t',
      'b__wait',
      'b__v2',
      'a__t',
      'a__wait',
      'a__v1',
    ])
  })

  verifies(['M153'], 'is whole where a listener of it fails', async () => {
    const others = process.listeners('unhandledRejection')
    const faults: unknown[] = []
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', fault => faults.push(fault))
    try {
      const { runtime, clock, living, tools, reload } = await reloadable(...BEFORE)
      const leave = runtime.store.onCommit(() => fail())
      const heard: number[] = []
      runtime.store.onCommit(({ version }) => heard.push(version))
      expect(await reload(...AFTER)).toMatchObject({ failed: [] })
      leave()
      await clock.pass(1_000)
      expect(living().sort()).toEqual(['a1', 'b2', 'c1', 'e1'])
      expect(await tools()).toContain('z__t')
      expect(heard.at(-1)).toBe(runtime.snapshot.version)
      expect(faults).toContainEqual(new Error('no room'))
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const other of others) process.on('unhandledRejection', other)
    }
  })
})

describe('a server that never worked', () => {
  verifies(
    ['M154'],
    'is kept with all its history by a reload of others, and is gone when removed',
    async () => {
      const world = await reloadable()
      const { runtime, clock, reload } = world
      refuses(world, '9')
      const bad = [server('a', '9'), broken('x', 'no url')] as const
      await reload(...bad, server('b'))
      for (const [ms, state] of [
        [2_000, 'backoff'],
        [120_000, 'quarantined'],
      ] as const) {
        await clock.pass(ms)
        const view = (name: string) => runtime.snapshot.upstreams.get(name)
        const [a, x] = [view('a'), view('x')]
        expect(a).toMatchObject({ state, lastError: { message: 'no database' } })
        expect(a?.attempts).toBeGreaterThan(1)
        const { plan } = await reload(...structuredClone(bad), server('b', String(ms)))
        expect(plan).toMatchObject({ added: [], restarted: ['b'], kept: ['a', 'x'] })
        expect(view('a')).toBe(a)
        expect(view('x')).toBe(x)
      }
      const { plan } = await reload(server('b'))
      expect(plan.removed).toEqual(['a', 'x'])
      expect([...runtime.snapshot.upstreams.keys()]).toEqual(['b'])
      await clock.pass(600_000)
      expect([...runtime.snapshot.upstreams.keys()]).toEqual(['b'])
      await reload(server('a', '1'), server('b'))
      await clock.pass(1_000)
      expect(runtime.snapshot.upstreams.get('a')).toMatchObject({ state: 'ready', lastError: null })
    },
  )

  verifies(['M154'], 'is another one once its entry is mended, or is faulty in another way', async () => {
    const world = await reloadable()
    const { runtime, clock, reload, begin } = world
    await reload(broken('x', 'no url'))
    const { plan } = await reload(broken('x', 'no command'))
    expect(plan.restarted).toEqual(['x'])
    expect(runtime.snapshot.upstreams.get('x')).toMatchObject({
      state: 'misconfigured',
      reason: 'no command',
      lastError: { message: 'no command' },
    })
    await reload(server('x'))
    await clock.pass(1_000)
    expect(said(await begin('x__t', 'local').outcome)).toBe('1')
    expect(runtime.snapshot.upstreams.get('x')?.lastError).toBeNull()
  })
})
