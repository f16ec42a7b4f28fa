import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CALM, judge, type LoadState, type Pressure } from './index.js'

const QUIET: Pressure = { heap: 0.1, loopDelayMs: 1, fds: 0.1 }
const run = (samples: readonly Partial<Pressure>[], state: LoadState = CALM) =>
  samples.reduce<LoadState>((at, sample) => judge(at, { ...QUIET, ...sample }), state)
const levels = (samples: readonly Partial<Pressure>[]) => {
  let state = CALM
  return samples.map(sample => {
    state = judge(state, { ...QUIET, ...sample })
    return state.level
  })
}
const times = (n: number, sample: Partial<Pressure> = {}) => Array.from({ length: n }, () => sample)

describe('the load level', () => {
  test('rises at once with heap and descriptors, at 85, 92 and 97 percent', () => {
    for (const what of ['heap', 'fds'] as const) {
      for (const [share, level] of [
        [0.849, 0],
        [0.85, 1],
        [0.919, 1],
        [0.92, 2],
        [0.969, 2],
        [0.97, 3],
        [1.2, 3],
      ] as const) {
        expect([what, share, run([{ [what]: share }]).level]).toEqual([what, share, level])
      }
    }
  })

  test('rises with the lateness of the loop only when that is seen twice, and never to the third', () => {
    expect(levels([{ loopDelayMs: 60_000 }, {}, {}])).toEqual([0, 0, 0])
    expect(levels([{ loopDelayMs: 250 }, { loopDelayMs: 5_000 }, { loopDelayMs: 5_000 }])).toEqual([0, 1, 2])
    expect(run(times(100, { loopDelayMs: 1e9 })).level).toBe(2)
  })

  test('falls one level at a time, after four measurements that are clearly better', () => {
    expect(levels([{ heap: 0.98 }, ...times(13)])).toEqual([3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0])
  })

  test('stays while a measurement is only just below its threshold', () => {
    expect(run([{ heap: 0.86 }, ...times(100, { heap: 0.81 })]).level).toBe(1)
    expect(run([{ heap: 0.86 }, ...times(3), { heap: 0.81 }, ...times(3)]).level).toBe(1)
    expect(run([...times(2, { loopDelayMs: 300 }), ...times(50, { loopDelayMs: 110 })]).level).toBe(1)
    expect(run([...times(2, { loopDelayMs: 300 }), ...times(4, { loopDelayMs: 90 })]).level).toBe(0)
  })

  test('does not know of descriptors where the machine does not tell', () => {
    expect(run(times(5, { fds: null })).level).toBe(0)
    expect(run([{ fds: null, heap: 0.93 }]).level).toBe(2)
  })

  test('always comes back to normal, whatever came before', () => {
    const sample = fc.record({
      heap: fc.double({ min: 0, max: 2, noNaN: true }),
      loopDelayMs: fc.double({ min: 0, max: 1e5, noNaN: true }),
      fds: fc.option(fc.double({ min: 0, max: 2, noNaN: true })),
    })
    fc.assert(
      fc.property(fc.array(sample), samples => {
        const state = run(samples)
        expect(run(times(13), state)).toEqual({ ...CALM, calm: 0 })
      }),
    )
  })

  test('keeps the very same state while nothing is wrong', () => {
    expect(judge(CALM, QUIET)).toBe(CALM)
  })
})
