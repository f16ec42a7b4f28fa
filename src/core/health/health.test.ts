import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EMPTY_CATALOG } from '../../model/index.js'
import {
  type Breaker,
  type BreakerEvent,
  CLOSED,
  FailureWindow,
  isProbeDue,
  NO_PROBES,
  nextProbeIn,
  DEFAULT_BREAKER as POLICY,
  probeFailed,
  probeSucceeded,
  Suspicion,
  stepBreaker,
  verdictOf,
} from './index.js'

const failed = (crowded = false) => ({ kind: 'failed', reason: 'reset', crowded }) as const
const feed = (current: Breaker, event: BreakerEvent, now = 0) => stepBreaker(current, event, now, 0.5, POLICY)
const opened = () => {
  let breaker = CLOSED
  for (let i = 0; i < POLICY.consecutive; i += 1) breaker = feed(breaker, failed())
  return breaker
}

describe('a breaker', () => {
  test('opens at the fifth failure in a row, and an answer between them starts the count again', () => {
    let breaker: Breaker = CLOSED
    for (let i = 0; i < 4; i += 1) breaker = feed(breaker, failed())
    expect(breaker).toEqual({ kind: 'closed', consecutive: 4 })
    expect(feed(breaker, { kind: 'succeeded' })).toBe(CLOSED)
    expect(feed(breaker, failed())).toMatchObject({ kind: 'open', opens: 1, reason: 'reset' })
  })

  test('opens at once when half of enough calls failed', () => {
    expect(feed(CLOSED, failed(true)).kind).toBe('open')
  })

  test('lets one in when its time has come, and closes with the first answer', () => {
    const open = opened()
    const until = open.kind === 'open' ? open.until : 0
    const half = feed(open, { kind: 'due' }, until)
    expect(half.kind).toBe('half_open')
    const busy = feed(half, { kind: 'trial-began' }, until)
    expect(feed(busy, { kind: 'trial-began' }, until)).toBe(busy)
    expect(feed(busy, { kind: 'trial-void' }, until)).toMatchObject({ kind: 'half_open', busy: false })
    expect(feed(busy, { kind: 'succeeded' }, until)).toBe(CLOSED)
  })

  test('waits longer after each failed trial, at most five seconds in the first minute and sixty later', () => {
    let breaker = opened()
    let now = 0
    const delays: number[] = []
    for (let i = 0; i < 40; i += 1) {
      if (breaker.kind !== 'open') throw new Error('not open')
      delays.push(breaker.until - now)
      now = breaker.until
      breaker = stepBreaker(feed(breaker, { kind: 'due' }, now), failed(), now, 0.999, POLICY)
    }
    expect(delays.slice(1, 4).map(Math.round)).toEqual([1_998, 3_996, 4_995])
    expect(Math.max(...delays)).toBeLessThanOrEqual(60_000)
    expect(delays.at(-1)).toBeGreaterThan(50_000)
  })

  test('counts the wait from where the trial began: one that waited for nothing has waited already', () => {
    const trial = feed(feed(opened(), { kind: 'due' }, 1_000), { kind: 'trial-began' }, 1_000)
    expect(feed(trial, failed(), 6_000)).toMatchObject({ kind: 'open', until: 6_000 + POLICY.floorMs })
    expect(feed(trial, failed(), 1_050)).toMatchObject({ kind: 'open', until: 2_000 })
  })

  test('can be asked by a call when the last trial is five seconds old', () => {
    const open = opened()
    expect(feed(open, { kind: 'demanded' }, POLICY.demandAfterMs - 1)).toBe(open)
    expect(feed(open, { kind: 'demanded' }, POLICY.demandAfterMs).kind).toBe('half_open')
  })

  test('is decided by trials alone: late answers and late failures leave an open one as it is', () => {
    const open = opened()
    for (const event of [
      { kind: 'succeeded' },
      failed(),
      { kind: 'trial-began' },
      { kind: 'trial-void' },
    ] as const)
      expect(feed(open, event)).toBe(open)
  })

  test('is new with a new connection', () => {
    expect(feed(opened(), { kind: 'reset' })).toBe(CLOSED)
    expect(feed(CLOSED, { kind: 'reset' })).toBe(CLOSED)
  })

  test('whatever comes: never opens in less than the limit, and never waits beyond the cap', () => {
    const event = fc.oneof(
      fc.constantFrom<BreakerEvent['kind']>(
        'succeeded',
        'due',
        'demanded',
        'trial-began',
        'trial-void',
        'reset',
      ),
      fc.constant<BreakerEvent['kind']>('failed'),
    )
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event, fc.nat(20_000), fc.double({ min: 0, max: 0.999, noNaN: true }))),
        steps => {
          let breaker: Breaker = CLOSED
          let now = 0
          let failures = 0
          for (const [kind, later, random] of steps) {
            now += later
            const before = breaker
            const given: BreakerEvent = kind === 'failed' ? failed() : { kind }
            breaker = stepBreaker(breaker, given, now, random, POLICY)
            if (before.kind === 'closed')
              failures =
                kind === 'failed' ? failures + 1 : kind === 'succeeded' || kind === 'reset' ? 0 : failures
            if (before.kind === 'closed' && breaker.kind === 'open') expect(failures).toBe(POLICY.consecutive)
            if (breaker.kind === 'closed' && before.kind !== 'closed') failures = 0
            if (breaker.kind === 'open') expect(breaker.until - now).toBeLessThanOrEqual(POLICY.capMs)
          }
        },
      ),
    )
  })
})

describe('the window', () => {
  test('is crowded when at least half of at least ten calls failed, and forgets after half a minute', () => {
    const window = new FailureWindow()
    for (let i = 0; i < 4; i += 1) window.record(1_000, false)
    for (let i = 0; i < 5; i += 1) window.record(2_000, true)
    expect(window.isCrowded(2_000)).toBe(false)
    window.record(8_000, false)
    expect(window.isCrowded(8_000)).toBe(true)
    expect(window.isCrowded(29_000)).toBe(true)
    expect(window.isCrowded(31_000)).toBe(false)
    expect(window.isCrowded(1e9)).toBe(false)
  })
})

describe('health checks', () => {
  const policy = { intervalMs: 30_000, timeoutMs: 5_000, failures: 3, soonMs: 1_000 }

  test('are spread by a tenth, and come soon after a failure', () => {
    expect(nextProbeIn(NO_PROBES, policy, 0)).toBe(27_000)
    expect(nextProbeIn(NO_PROBES, policy, 1)).toBeCloseTo(33_000)
    expect(nextProbeIn(probeFailed(NO_PROBES, 'x'), policy, 0.5)).toBe(1_000)
    expect(probeSucceeded(probeFailed(NO_PROBES, 'x'))).toBe(NO_PROBES)
  })

  test('are left out while calls tell enough', () => {
    const facts = { inFlight: 0, sinceOkMs: 30_000, failures: 0, intervalMs: 30_000 }
    expect(isProbeDue(facts)).toBe(true)
    expect(isProbeDue({ ...facts, inFlight: 1 })).toBe(false)
    expect(isProbeDue({ ...facts, sinceOkMs: 10 })).toBe(false)
    expect(isProbeDue({ ...facts, inFlight: 1, failures: 1 })).toBe(true)
  })
})

describe('suspicion', () => {
  test('falls on ourselves when most servers, and at least three, fail within ten seconds', () => {
    const suspicion = new Suspicion()
    const pardoned: string[] = []
    const failed = (name: string, now: number) =>
      suspicion.failed(name, now, since => pardoned.push(`${name} ${since}`))
    failed('a', 0)
    failed('b', 1)
    expect(suspicion.isOurs(1, 3)).toBe(false)
    failed('c', 2)
    expect(suspicion.isOurs(2, 5)).toBe(true)
    expect(suspicion.isOurs(2, 6)).toBe(false)
    expect(suspicion.isOurs(10_001, 5)).toBe(false)
    suspicion.pardon(10_001)
    expect(pardoned).toEqual(['b 1', 'c 1'])
    suspicion.recovered('c')
    expect(suspicion.isOurs(2, 5)).toBe(false)
  })
})

describe('the verdict', () => {
  const well = {
    state: 'ready',
    breaker: 'closed',
    attempts: 0,
    unwell: false,
    slow: false,
    catalog: EMPTY_CATALOG,
  } as const

  test('of a connected server depends on breaker, checks and lists', () => {
    expect(verdictOf(well)).toBe('healthy')
    expect(verdictOf({ ...well, breaker: 'open' })).toBe('unhealthy')
    expect(verdictOf({ ...well, breaker: 'half_open' })).toBe('unhealthy')
    expect(verdictOf({ ...well, unwell: true })).toBe('unhealthy')
    expect(verdictOf({ ...well, slow: true })).toBe('degraded')
    const catalog = { ...EMPTY_CATALOG, prompts: { state: 'failed', reason: 'x', items: [] } } as const
    expect(verdictOf({ ...well, catalog })).toBe('degraded')
  })

  test('of any other depends on where it is in its life', () => {
    const of = (state: Parameters<typeof verdictOf>[0]['state'], attempts = 0) =>
      verdictOf({ ...well, state, attempts })
    expect([of('starting'), of('starting', 1)]).toEqual(['unknown', 'unhealthy'])
    for (const state of ['idle', 'disabled', 'draining', 'stopped'] as const)
      expect(of(state)).toBe('unknown')
    for (const state of ['backoff', 'quarantined', 'misconfigured', 'auth_required'] as const)
      expect(of(state)).toBe('unhealthy')
  })
})
