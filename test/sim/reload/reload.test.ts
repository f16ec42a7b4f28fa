import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Entry, isEmptyPlan } from '../../../src/core/reload/index.js'
import { World } from '../world.js'
import { historyWith, type Step } from './configs.js'
import { expectSameAsFresh } from './fresh.js'
import { createStand, rewritten, type Stand, useAll, within } from './stand.js'
import { callAll, expectAnswered } from './under-way.js'
import { isBroken, versionOf } from './versions.js'

const RUNS = Number(process.env['HOLDFAST_RELOAD_RUNS'] ?? 250)
const SEED = Number(process.env['HOLDFAST_RELOAD_SEED'] ?? 1)
/** The way to one counterexample, as it is printed. */
const PATH = process.env['HOLDFAST_RELOAD_PATH'] ?? ''

/** Longer than any drain. */
const SETTLE_MS = 60_000

/** What runs after a reload by the rules: a changed version that cannot start does not replace one that serves. */
function effective(stand: Stand, wanted: readonly Entry[]): readonly Entry[] {
  const { runtime } = stand
  const plan = runtime.planReload(wanted)
  const running = new Map(runtime.entries.map(entry => [entry.name, entry]))
  return wanted.map(entry => {
    if (!plan.restarted.includes(entry.name) || 'problem' in entry) return entry
    const serves = runtime.supervisors.get(entry.name)?.state === 'ready'
    const isRare = entry.isolation !== 'shared'
    const isTried = serves && entry.enabled && !entry.lazy && !isRare && !entry.exclusive
    const isKept = isTried && isBroken(versionOf(entry.transport)) && entry.onUpdateFailure !== 'replace'
    return isKept ? (running.get(entry.name) ?? entry) : entry
  })
}

async function reload(stand: Stand, { entries, thenMs, isUsed }: Step): Promise<void> {
  const { runtime, world } = stand
  const expected = effective(stand, entries)
  const refused = entries.filter((entry, index) => entry !== expected[index]).map(({ name }) => name)
  // Whether the new version may run beside the old one is for the new one to say, also where it is refused then.
  stand.wanted = entries
  const before = runtime.entries
  const calls = callAll(stand)
  const { failed } = await within(stand, runtime.reload(structuredClone(entries)))
  await within(stand, Promise.all(calls.map(({ said }) => said)), 90_000)
  await expectAnswered(calls, before, expected)
  stand.wanted = expected
  expect(runtime.entries).toEqual(expected)
  expect(failed.map(({ upstream }) => upstream).sort()).toEqual(refused.sort())
  if (isUsed) await useAll(stand)
  await world.run(world.now + thenMs)
}

/** New versions that start late take their places later, whatever else is reloaded meanwhile. */
async function reloadLate(stand: Stand, { entries, thenMs, isUsed }: Step): Promise<void> {
  const { runtime, world } = stand
  stand.wanted = entries
  const calls = callAll(stand)
  const { failed } = await within(stand, runtime.reload(structuredClone(entries)))
  await within(stand, Promise.all(calls.map(({ said }) => said)), 90_000)
  expect(failed).toEqual([])
  if (isUsed) await useAll(stand)
  await world.run(world.now + thenMs)
}

async function run(history: readonly Step[], take: typeof reload): Promise<void> {
  const [first, ...later] = history
  const world = new World(1)
  await world.own(async () => {
    const stand = createStand(world, structuredClone(first?.entries ?? []))
    const { runtime } = stand
    runtime.boot()
    await world.run(first?.thenMs ?? 0)
    for (const step of later) await take(stand, step)
    await world.run(world.now + SETTLE_MS)
    if (take === reloadLate) expect(runtime.entries).toEqual(history.at(-1)?.entries)
    await expectSameAsFresh(stand)
    const before = runtime.snapshot
    const again = rewritten(structuredClone(runtime.entries))
    expect(isEmptyPlan(runtime.planReload(again))).toBe(true)
    await within(stand, runtime.reload(again))
    expect(runtime.snapshot).toBe(before)
    await within(stand, runtime.stop())
    await world.run(world.now + SETTLE_MS)
    expect(stand.ledger.held()).toEqual([])
    expect([stand.broken, world.crashes]).toEqual([[], []])
  })
}

describe('a gateway after reloads', () => {
  test(
    'is in the state of one that was started with the last config',
    async () => {
      await fc.assert(
        fc.asyncProperty(historyWith('slow', 'crash', 'hang'), history => run(history, reload)),
        { numRuns: RUNS, seed: SEED, path: PATH },
      )
    },
    RUNS * 1_000,
  )

  test(
    'is in that state also where new versions start for longer than a reload waits',
    async () => {
      const histories = historyWith('slow', 'late', 'late')
      const property = fc.asyncProperty(histories, history => run(history, reloadLate))
      await fc.assert(property, { numRuns: RUNS, seed: SEED, path: PATH })
    },
    RUNS * 1_000,
  )
})
