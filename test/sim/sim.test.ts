import { describe, expect, test } from 'vitest'
import { verifies } from '../kit/verifies.js'
import { PAST_SEEDS } from './past-seeds.js'
import { renderReport } from './render.js'
import { simulate } from './simulation.js'

const SEEDS = 200
const MINUTES = 60_000

async function brokenOf(seeds: readonly number[]): Promise<string[]> {
  const broken: string[] = []
  for (const seed of seeds) {
    const report = await simulate({ seed })
    if (report.violations.length > 0) broken.push(renderReport(report))
  }
  return broken
}

describe('the simulator', () => {
  test('does the same again from the same seed', async () => {
    for (const seed of [1, 2, 3]) {
      const first = await simulate({ seed })
      const second = await simulate({ seed })
      expect(second.hash).toBe(first.hash)
      expect(second.world.history.length).toBe(first.world.history.length)
    }
  })

  test('does something else from another seed', async () => {
    const [one, other] = [await simulate({ seed: 1 }), await simulate({ seed: 2 })]
    expect(other.hash).not.toBe(one.hash)
  })

  test('sees faults, retries, cancellations and effects at all', async () => {
    const kinds = new Set<string>()
    for (let seed = 1; seed <= 10; seed += 1) {
      for (const { kind } of (await simulate({ seed })).world.history) kinds.add(kind)
    }
    for (const kind of [
      'sent',
      'answer',
      'effect',
      'fault',
      'cancelled',
      'left',
      'progress',
      'asked',
      'died',
    ])
      expect(kinds).toContain(kind)
  })
})

describe('the gateway on a virtual machine', () => {
  verifies(
    ['F72'],
    `keeps its promises through ${SEEDS} random walks`,
    async () => {
      expect(await brokenOf(Array.from({ length: SEEDS }, (_, index) => index + 1))).toEqual([])
    },
    4 * MINUTES,
  )

  test(
    'keeps them where it once did not',
    async () => {
      expect(await brokenOf(PAST_SEEDS)).toEqual([])
    },
    MINUTES,
  )

  verifies(
    ['F71'],
    'keeps them whichever one operation of the machine fails',
    async () => {
      const broken: string[] = []
      const whole = await simulate({ seed: 1, calm: true, models: ALL })
      expect(whole.violations).toEqual([])
      for (let failing = 1; failing <= whole.ledger.operations; failing += 1) {
        const report = await simulate({ seed: 1, calm: true, models: ALL, failing })
        expect(report.ledger.failed).not.toBeNull()
        if (report.violations.length > 0) broken.push(renderReport(report))
      }
      expect(broken).toEqual([])
    },
    4 * MINUTES,
  )
})

const ALL = ['stdio-legacy', 'http-legacy', 'http-modern', 'stdio-modern'] as const
