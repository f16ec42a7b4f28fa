import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { type ConfigReading, readConfigObject } from '../config/index.js'
import { type Entry, planReload } from '../core/reload/index.js'
import type { LogRecord } from '../observe/index.js'
import type { ReloadResult } from './reload-result.js'
import { type LoadConfig, type ReadyChange, Reloader } from './reloader.js'

const read = (mcpServers: object, holdfast: object = {}): ConfigReading =>
  readConfigObject({ mcpServers, holdfast }, { env: {}, baseDir: '/' })
const A = { command: 'a' }
const B = { command: 'b' }
const FAULTY = { command: 'x', env: { K: '${NOT_SET}' } }
const READY: ReadyChange = { warnings: [], commit: () => undefined, abort: () => undefined }

function world(start = read({ a: A })) {
  const clock = virtualClock()
  const log: LogRecord[] = []
  const told: ReloadResult[] = []
  let entries: readonly Entry[] = start.upstreams
  const runtime = {
    draining: false,
    get entries() {
      return entries
    },
    planReload: (wanted: readonly Entry[]) => planReload(entries, wanted),
    /** Those do not start. */
    failing: new Map<string, string>(),
    /** Those take their time. */
    slow: new Set<string>(),
    fault: null as Error | null,
    takesMs: 0,
    applied: [] as string[][],
    reload: async (wanted: readonly Entry[]) => {
      const before = entries
      const plan = planReload(before, wanted)
      if (runtime.takesMs > 0) await new Promise<void>(resolve => clock.after(runtime.takesMs, resolve))
      if (runtime.fault) throw runtime.fault
      runtime.applied.push(wanted.map(({ name }) => name))
      const old = new Map(entries.map(entry => [entry.name, entry]))
      const failed = wanted.flatMap(({ name }) => {
        const reason = runtime.failing.get(name)
        return reason === undefined ? [] : [{ upstream: name, reason }]
      })
      const late = wanted.map(({ name }) => name).filter(name => runtime.slow.has(name))
      const kept = new Set([...failed.map(({ upstream }) => upstream), ...late])
      entries = wanted.map(entry => (kept.has(entry.name) ? (old.get(entry.name) ?? entry) : entry))
      return { plan, before, wanted, failed, late }
    },
  }
  const door = { ready: READY, refuses: null as Error | null }
  const reloader = new Reloader({
    runtime,
    clock,
    log: record => log.push(record),
    reading: start,
    prepare: async () => {
      if (door.refuses) throw door.refuses
      return door.ready
    },
    settle: () => undefined,
    told: result => told.push(result),
  })
  const loads = (reading: ConfigReading): LoadConfig => {
    return async () => reading
  }
  return {
    clock,
    log,
    told,
    runtime,
    door,
    reloader,
    /** Made to its end. */
    take: async (reading: ConfigReading) => {
      const work = reloader.reload(loads(reading))
      await clock.pass(60_000)
      return work
    },
    loads,
  }
}

describe('the reloader', () => {
  test('tells what a reload did in its result, in the log, in the status and to who listens', async () => {
    const { take, log, told, reloader, clock } = world(read({ a: A, gone: A }))
    await clock.pass(5_000)
    const result = await take(read({ a: { ...A, holdfast: { prefix: 'p' } }, b: B }, { allowedHosts: ['h'] }))
    expect(result).toEqual({
      ok: true,
      generation: 2,
      added: ['b'],
      removed: ['gone'],
      updated: ['a'],
      unchanged: [],
      reordered: false,
      changes: [
        { server: 'a', how: 'updated', options: [{ option: 'prefix', before: '"a"', after: '"p"' }] },
        { server: 'b', how: 'added', options: [] },
        { server: 'gone', how: 'removed', options: [] },
      ],
      settings: ['allowedHosts'],
      errors: [],
      warnings: [],
    })
    expect(told).toEqual([result])
    expect(log.map(({ message }) => message)).toEqual([
      'Configuration 2: added b; removed gone; updated a (prefix); changed allowedHosts of the gateway; 0 unchanged.',
    ])
    expect(reloader.status).toEqual({
      generation: 2,
      loadedAt: '1970-01-01T00:00:05.000Z',
      lastError: null,
      warnings: [],
    })
  })

  test('of the same values does nothing, and forgets the fault of the one before', async () => {
    const { take, told, runtime, reloader } = world()
    await take(read({ a: A, b: FAULTY }))
    expect(reloader.status.lastError?.message).toContain('NOT_SET')
    expect(await take(read({ a: A }))).toMatchObject({ ok: true, generation: 1, unchanged: ['a'] })
    expect(reloader.status.lastError).toBeNull()
    expect(runtime.applied).toEqual([])
    expect(told.map(({ ok }) => ok)).toEqual([false])
  })

  test('changes nothing for one fault, tells all of them, and logs the same ones once', async () => {
    const { take, runtime, log } = world()
    const reading = { ...read({ a: A, b: FAULTY, c: { command: 1 } }), path: '/etc/holdfast.json' }
    for (const _ of [1, 2]) {
      const { ok, errors, unchanged } = await take(reading)
      expect({ ok, unchanged }).toEqual({ ok: false, unchanged: ['a'] })
      expect(errors).toEqual([
        expect.stringMatching(
          /^\/etc\/holdfast\.json: mcpServers\.b\.env\.K: the variable NOT_SET is not set/,
        ),
        expect.stringMatching(
          /^\/etc\/holdfast\.json: mcpServers\.c\.command: must be a string, not a number/,
        ),
      ])
    }
    expect(runtime.applied).toEqual([])
    expect(log).toHaveLength(1)
  })

  test('lets an entry that is as faulty as it was keep nothing else back', async () => {
    const { take } = world(read({ a: A, bad: FAULTY }))
    expect(await take(read({ a: A, bad: FAULTY, b: B }))).toMatchObject({ ok: true, added: ['b'] })
    expect(await take(read({ a: A, bad: { ...FAULTY, args: 1 }, b: B }))).toMatchObject({ ok: false })
  })

  test('reads a file that may be half written again, and takes what is whole within 600 ms', async () => {
    for (const [halves, ok] of [
      [3, true],
      [4, false],
    ] as const) {
      const { reloader, clock, told } = world()
      let reads = 0
      const load = async () => (++reads > halves ? read({ b: B }) : read({ a: A, b: FAULTY }))
      const work = reloader.reload(load, { mayBeHalf: true })
      await clock.pass(600)
      expect(await work).toMatchObject({ ok })
      expect([reads, told.length]).toEqual([4, 1])
    }
  })

  test('makes one at a time, and of those that come meanwhile the last one, once', async () => {
    const { reloader, clock, runtime, loads } = world()
    runtime.takesMs = 1_000
    const first = reloader.reload(loads(read({ b: B })))
    await clock.pass(500)
    const others = ['c', 'd', 'e'].map(name => reloader.reload(loads(read({ [name]: A }))))
    await clock.pass(400)
    expect(runtime.applied).toEqual([])
    await clock.pass(3_000)
    expect(runtime.applied).toEqual([['b'], ['e']])
    expect((await first).added).toEqual(['b'])
    expect((await Promise.all(others)).map(({ generation }) => generation)).toEqual([3, 3, 3])
    runtime.takesMs = 0
    const again = reloader.reload(loads(read({ f: B })))
    await clock.pass(0)
    expect((await again).generation).toBe(4)
  })

  test('that waits is careful with a half-written file if one of those that it covers asked for that', async () => {
    const { reloader, clock, runtime, loads } = world()
    runtime.takesMs = 1_000
    void reloader.reload(loads(read({ b: B })))
    await clock.pass(500)
    let reads = 0
    const half = async () => (++reads > 1 ? read({ c: A }) : read({ c: FAULTY }))
    const waiting = reloader.reload(half)
    void reloader.reload(half, { mayBeHalf: true })
    await clock.pass(3_000)
    expect(await waiting).toMatchObject({ ok: true, added: ['c'] })
  })

  test('goes on after one that could not even be read', async () => {
    const { reloader, take } = world()
    await expect(reloader.reload(() => Promise.reject(new Error('no such program')))).rejects.toThrow(
      'no such',
    )
    expect(await take(read({ b: B }))).toMatchObject({ ok: true, generation: 2 })
  })

  test('counts no configuration of which nothing was taken over', async () => {
    const { take, runtime, reloader } = world()
    runtime.failing.set('a', 'it crashed')
    const changed = read({ a: { command: 'other' } })
    expect(await take(changed)).toMatchObject({
      ok: false,
      generation: 1,
      updated: [],
      unchanged: ['a'],
      changes: [],
      errors: ['a: its new version does not start, so the old one serves on: it crashed'],
    })
    expect(reloader.status.lastError?.message).toContain('it crashed')
    expect(await take(read({ a: { command: 'other' }, b: B }))).toMatchObject({
      ok: false,
      generation: 2,
      added: ['b'],
      unchanged: ['a'],
    })
    runtime.failing.clear()
    expect(await take(read({ a: { command: 'other' }, b: B }))).toMatchObject({ ok: true, updated: ['a'] })
    expect(reloader.status.lastError).toBeNull()
  })

  test('does not wait for a version that starts slowly, and tells how that ended', async () => {
    const { take, runtime, reloader, told, log } = world()
    runtime.slow.add('a')
    const changed = read({ a: { command: 'other' }, b: B })
    const warning = 'a: its new version is still starting; the old one serves until it is ready'
    expect(await take(changed)).toMatchObject({
      ok: true,
      generation: 2,
      added: ['b'],
      updated: [],
      unchanged: ['a'],
      warnings: [warning],
    })
    expect(reloader.status).toMatchObject({ lastError: null, warnings: [warning] })
    await take(read({ a: A, c: FAULTY }))
    runtime.slow.clear()
    reloader.later({ kind: 'applied', applied: await runtime.reload(changed.upstreams) })
    expect(told.at(-1)).toMatchObject({ ok: true, generation: 3, updated: ['a'], unchanged: ['b'] })
    expect(log.at(-1)?.message).toBe('Configuration 3: updated a (command); 1 unchanged.')
    expect(reloader.status.warnings).toEqual([])
    // What was refused meanwhile is refused still.
    expect(reloader.status.lastError?.message).toContain('NOT_SET')
  })

  test('gives up a version that is late when the file is as it was', async () => {
    const { take, runtime, reloader } = world()
    runtime.slow.add('a')
    await take(read({ a: { command: 'other' } }))
    runtime.slow.clear()
    expect(await take(read({ a: A }))).toMatchObject({ ok: true, generation: 1, updated: [], warnings: [] })
    expect(runtime.applied).toHaveLength(2)
    expect(reloader.status.warnings).toEqual([])
  })

  test('tells of a version that starts slowly and fails in the end', async () => {
    const { take, runtime, reloader, told } = world()
    runtime.slow.add('a')
    await take(read({ a: { command: 'other' } }))
    reloader.later({ kind: 'failed', failed: { upstream: 'a', reason: 'it crashed' } })
    const error = 'a: its new version does not start, so the old one serves on: it crashed'
    expect(told.at(-1)).toMatchObject({ ok: false, generation: 1, errors: [error] })
    expect(reloader.status).toMatchObject({ warnings: [], lastError: { message: error } })
  })

  test('takes back what it had prepared when the change itself fails, and says why', async () => {
    const { take, runtime, door, reloader } = world()
    const did: string[] = []
    door.ready = {
      warnings: [],
      commit: () => void did.push('commit'),
      abort: () => void did.push('abort'),
    }
    runtime.fault = new Error('b: its connector cannot be made')
    expect(await take(read({ a: A, b: B }))).toMatchObject({
      ok: false,
      generation: 1,
      added: [],
      unchanged: ['a'],
      errors: ['b: its connector cannot be made'],
    })
    expect(did).toEqual(['abort'])
    expect(reloader.status.lastError?.message).toBe('b: its connector cannot be made')
    runtime.fault = null
    expect(await take(read({ a: A, b: B }))).toMatchObject({ ok: true, added: ['b'] })
    expect(did).toEqual(['abort', 'commit'])
  })

  test('changes no server when the gateway itself cannot become as wanted', async () => {
    const { take, runtime, door } = world()
    door.refuses = new Error('port 1 is in use')
    expect(await take(read({ b: B }, { listen: { port: 1 } }))).toMatchObject({
      ok: false,
      errors: ['holdfast.listen: port 1 is in use'],
    })
    expect(runtime.applied).toEqual([])
  })

  test('refuses while the gateway stops', async () => {
    const { take, runtime, reloader } = world()
    runtime.draining = true
    expect(await take(read({ b: B }))).toMatchObject({ ok: false, errors: ['the gateway is stopping'] })
    expect(reloader.status.lastError).toBeNull()
  })

  test('as a trial leaves no trace, and waits for nobody', async () => {
    const { reloader, runtime, loads, told, clock, log } = world()
    runtime.takesMs = 1_000
    const running = reloader.reload(loads(read({ a: A, b: B })))
    const trial = await reloader.reload(loads(read({})), { dryRun: true })
    expect(trial).toMatchObject({ ok: true, generation: 1, removed: ['a'] })
    const faulty = await reloader.reload(loads(read({ b: FAULTY })), { dryRun: true })
    expect(faulty).toMatchObject({ ok: false, errors: [expect.stringContaining('NOT_SET')] })
    expect([reloader.status.lastError, told, log]).toEqual([null, [], []])
    await clock.pass(1_000)
    expect((await running).generation).toBe(2)
  })
})
