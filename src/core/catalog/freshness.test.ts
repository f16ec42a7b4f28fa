import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../../test/kit/verifies.js'
import { type Freshness, type FreshnessEvent, isFresh, NEVER_FETCHED, stepFreshness } from './freshness.js'

/** Feeds events at their times. */
function following(
  ...events: [now: number, event: FreshnessEvent | FreshnessEvent['kind'], ttlMs?: number][]
): Freshness {
  let state = NEVER_FETCHED
  for (const [now, event, ttlMs] of events) state = stepFreshness(state, eventOf(event, ttlMs), now)
  return state
}

function eventOf(event: FreshnessEvent | FreshnessEvent['kind'], ttlMs = 300_000): FreshnessEvent {
  if (typeof event !== 'string') return event
  return event === 'succeeded' ? { kind: event, ttlMs } : { kind: event }
}

const CONNECTED = [0, 'connected'] as const
const FETCHED = [[...CONNECTED], [0, 'began'], [0, 'succeeded']] as [number, FreshnessEvent['kind']][]

describe('a list', () => {
  test('is fetched once there is a connection, and then rests', () => {
    expect(NEVER_FETCHED.dueAt).toBe(Infinity)
    expect(following([...CONNECTED])).toMatchObject({ phase: 'resting', dueAt: 0, begun: 0 })
    expect(following(...FETCHED)).toMatchObject({
      phase: 'resting',
      dueAt: Infinity,
      begun: 1,
      freshUntil: 300_000,
    })
  })

  for (const tick of [1e-6, 1, 16]) {
    verifies(['D41'], `is fresh until its age is the TTL, with a clock of ${tick} ms`, () => {
      const state = following(...FETCHED)
      expect(isFresh(state, 300_000 - tick)).toBe(true)
      expect(isFresh(state, 300_000)).toBe(false)
    })
  }

  verifies(
    ['D42'],
    'is known to have been fetched again by the count, where the clock reads the same',
    () => {
      const once = following(...FETCHED)
      const twice = following(...FETCHED, [0, 'asked'], [0, 'began'], [0, 'succeeded'])
      expect(twice.begun).toBe(once.begun + 1)
      expect({ ...twice, begun: 0 }).toEqual({ ...once, begun: 0 })
    },
  )

  test('that nobody uses is not fetched again when it is old; one that somebody uses is, at that moment', () => {
    expect(following(...FETCHED).dueAt).toBe(Infinity)
    expect(following(...FETCHED, [1_000, 'used']).dueAt).toBe(300_000)
    expect(following(...FETCHED, [400_000, 'used']).dueAt).toBe(400_000)
    expect(following([...CONNECTED], [0, 'began'], [5, 'used'], [10, 'succeeded']).dueAt).toBe(300_010)
  })

  test('that is not cached is due at each look, and one look at a fetch under way is served by it', () => {
    const fetched = following([...CONNECTED], [0, 'began'], [5, 'used'], [10, 'succeeded', 0])
    expect(fetched).toMatchObject({ dueAt: Infinity, freshUntil: 10 })
    expect(stepFreshness(fetched, { kind: 'used' }, 10).dueAt).toBe(10)
  })

  verifies(['D46'], 'that cannot be had is asked for ever more seldom, whoever looks or announces', () => {
    let state = following([...CONNECTED], [0, 'began'])
    const pauses: number[] = []
    let now = 0
    for (let tries = 0; tries < 7; tries += 1) {
      state = stepFreshness(state, { kind: 'failed' }, now)
      for (const kind of ['used', 'changed', 'used'] as const) state = stepFreshness(state, { kind }, now)
      pauses.push(state.dueAt - now)
      now = state.dueAt
      state = stepFreshness(state, { kind: 'began' }, now)
    }
    expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000])
    expect(stepFreshness(state, { kind: 'succeeded', ttlMs: 1_000 }, now)).toMatchObject({
      failures: 0,
      freshUntil: now + 1_000,
    })
  })

  test('that a person asks for is fetched at once, also in the pause after a failure', () => {
    const failed = following([...CONNECTED], [0, 'began'], [0, 'failed'])
    expect(stepFreshness(failed, { kind: 'asked' }, 7).dueAt).toBe(7)
    const during = following([...CONNECTED], [0, 'began'], [1, 'asked'], [2, 'changed'])
    expect(stepFreshness(during, { kind: 'succeeded', ttlMs: 1_000 }, 3)).toMatchObject({
      dueAt: 3,
      freshUntil: -Infinity,
    })
    expect(stepFreshness(during, { kind: 'failed' }, 3).dueAt).toBe(3)
  })

  test('is old once its connection is gone, and is not fetched before there is another', () => {
    const gone = following(...FETCHED, [10, 'disconnected'], [20, 'used'], [20, 'changed'], [20, 'asked'])
    expect(gone).toMatchObject({ phase: 'away', dueAt: Infinity, freshUntil: -Infinity })
    expect(stepFreshness(gone, { kind: 'connected' }, 30).dueAt).toBe(30)
  })
})

describe('an announced change', () => {
  verifies(['D49'], 'is fetched after a moment; more of them at most every 5 s', () => {
    let state = following(...FETCHED)
    let fetches = 0
    for (let now = 0; now <= 20_000; now += 1) {
      state = stepFreshness(state, { kind: 'changed' }, now)
      if (state.dueAt > now) continue
      fetches += 1
      state = stepFreshness(state, { kind: 'began' }, now)
      state = stepFreshness(state, { kind: 'succeeded', ttlMs: 300_000 }, now)
    }
    expect(fetches).toBe(4)
  })

  verifies(['D50'], 'during a fetch makes its answer old, and one more fetch follows', () => {
    const state = following([...CONNECTED], [0, 'began'], [1, 'changed'], [2, 'succeeded'])
    expect(state).toMatchObject({ freshUntil: -Infinity, dueAt: 102, announced: true })
    expect(isFresh(state, 2)).toBe(false)
  })
})

test('whatever happens in whatever order, one fetch is under way at most, and none is due while it is', () => {
  const event = fc.constantFrom<FreshnessEvent>(
    ...(['connected', 'disconnected', 'changed', 'used', 'asked', 'failed'] as const).map(kind => ({ kind })),
    { kind: 'succeeded', ttlMs: 0 },
    { kind: 'succeeded', ttlMs: 1_000 },
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(event, fc.integer({ min: 0, max: 3_000 })), { maxLength: 80 }), steps => {
      let state = NEVER_FETCHED
      let now = 0
      for (const [each, ms] of steps) {
        now += ms
        if (state.dueAt <= now) {
          const begun = stepFreshness(state, { kind: 'began' }, now)
          expect(begun).toMatchObject({ phase: 'fetching', begun: state.begun + 1, dueAt: Infinity })
          expect(stepFreshness(begun, { kind: 'began' }, now)).toBe(begun)
          state = begun
        }
        state = stepFreshness(state, each, now)
        expect(state.phase === 'resting' || state.dueAt === Infinity).toBe(true)
        if (state.phase === 'away') expect(isFresh(state, now)).toBe(false)
      }
    }),
  )
})
