import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  backoffDelay,
  INITIAL,
  DEFAULT_BACKOFF as POLICY,
  type Supervised,
  type SuperviseEvent,
  step,
} from './index.js'

const OUTAGE = { class: 'outage', reason: 'refused' } as const

/** Drives the machine through events at given times; the jitter is always its upper end. */
function drive(...events: [at: number, event: SuperviseEvent][]) {
  let current: Supervised = INITIAL
  const effects: string[] = []
  for (const [at, event] of events) {
    const { next, effects: made } = step(current, event, at, 0.999, POLICY)
    current = next
    effects.push(...made.map(effect => effect.kind))
  }
  return { current, effects, kind: current.state.kind }
}

describe('an upstream', () => {
  test('starts, becomes ready, and has its lists fetched', () => {
    const { kind, effects } = drive([0, { kind: 'boot' }], [10, { kind: 'opened', epoch: 1 }])
    expect(kind).toBe('ready')
    expect(effects).toEqual(['disarm-timer', 'open', 'fetch-lists'])
  })

  test('that cannot be opened is tried again, later each time, and for ever', () => {
    let current = step(INITIAL, { kind: 'boot' }, 0, 0, POLICY).next
    const delays: number[] = []
    for (let i = 0; i < 50; i += 1) {
      const failed = step(
        current,
        { kind: 'open-failed', epoch: current.epoch, fault: OUTAGE },
        0,
        0.999,
        POLICY,
      )
      const timer = failed.effects.find(effect => effect.kind === 'arm-timer')
      delays.push(timer?.kind === 'arm-timer' ? timer.delayMs : Number.NaN)
      current = step(failed.next, { kind: 'timer-fired', epoch: failed.next.epoch }, 0, 0, POLICY).next
      expect(current.state.kind).toBe('starting')
    }
    expect(delays.slice(0, 4).map(delay => Math.round(delay / 1000))).toEqual([1, 2, 4, 8])
    expect(Math.max(...delays)).toBeLessThanOrEqual(POLICY.capMs)
  })

  test('that dies after a healthy run is restarted at once', () => {
    const { kind, effects, current } = drive(
      [0, { kind: 'boot' }],
      [10, { kind: 'opened', epoch: 1 }],
      [100_000, { kind: 'closed', epoch: 1, fault: OUTAGE }],
    )
    expect(kind).toBe('starting')
    expect(effects.at(-1)).toBe('open')
    expect(current.lastFault).toEqual(OUTAGE)
  })

  test('that keeps dying early backs off', () => {
    const { kind } = drive(
      [0, { kind: 'boot' }],
      [10, { kind: 'opened', epoch: 1 }],
      [20, { kind: 'closed', epoch: 1, fault: OUTAGE }],
      [30, { kind: 'opened', epoch: 2 }],
      [40, { kind: 'closed', epoch: 2, fault: OUTAGE }],
    )
    expect(kind).toBe('backoff')
  })

  test.each(['misconfigured', 'auth_required'] as const)('that is %s is not hammered', faultClass => {
    const { kind, current } = drive(
      [0, { kind: 'boot' }],
      [10, { kind: 'open-failed', epoch: 1, fault: { class: faultClass, reason: 'x' } }],
    )
    expect(kind).toBe(faultClass)
    expect('until' in current.state && current.state.until).toBe(10 + POLICY.slowMs)
  })

  test('in backoff is tried on demand, once the last try is old enough', () => {
    const failing: [number, SuperviseEvent][] = [
      [0, { kind: 'boot' }],
      [0, { kind: 'open-failed', epoch: 1, fault: OUTAGE }],
    ]
    expect(drive(...failing, [POLICY.demandAfterMs - 1, { kind: 'demanded' }]).kind).toBe('backoff')
    expect(drive(...failing, [POLICY.demandAfterMs, { kind: 'demanded' }]).kind).toBe('starting')
  })

  test('hears nothing from attempts of the past', () => {
    const ready = drive([0, { kind: 'boot' }], [1, { kind: 'opened', epoch: 1 }]).current
    for (const event of [
      { kind: 'closed', epoch: 0, fault: OUTAGE },
      { kind: 'opened', epoch: 0 },
      { kind: 'open-failed', epoch: 0, fault: OUTAGE },
      { kind: 'timer-fired', epoch: 0 },
    ] as const) {
      expect(step(ready, event, 5, 0, POLICY).next).toBe(ready)
    }
  })

  test('that was stopped stays stopped, and one that is disabled is never started', () => {
    const anyEvent: fc.Arbitrary<SuperviseEvent> = fc.oneof(
      fc.constantFrom({ kind: 'boot' } as const, { kind: 'demanded' } as const, { kind: 'stopped' } as const),
      fc.record({
        kind: fc.constantFrom('opened', 'timer-fired'),
        epoch: fc.nat(4),
      }) as fc.Arbitrary<SuperviseEvent>,
      fc.record({
        kind: fc.constantFrom('open-failed', 'closed'),
        epoch: fc.nat(4),
        fault: fc.constant(OUTAGE),
      }) as fc.Arbitrary<SuperviseEvent>,
    )
    fc.assert(
      fc.property(fc.array(anyEvent), events => {
        const stopped = drive(
          [0, { kind: 'stopped' }],
          ...events.map((event, i) => [i, event] as [number, SuperviseEvent]),
        )
        expect(stopped.kind).toBe('stopped')
        let disabled: Supervised = { ...INITIAL, state: { kind: 'disabled' } }
        for (const event of events) disabled = step(disabled, event, 1, 0, POLICY).next
        expect(disabled.state.kind).toBe('disabled')
      }),
    )
  })

  test('never has two attempts with one number, nor an attempt without an effect that opens it', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('boot', 'demand', 'open', 'fail', 'close', 'timer')), words => {
        let current = INITIAL
        const opened: number[] = []
        words.forEach((word, i) => {
          const { epoch } = current
          const event: SuperviseEvent =
            word === 'boot'
              ? { kind: 'boot' }
              : word === 'demand'
                ? { kind: 'demanded' }
                : word === 'open'
                  ? { kind: 'opened', epoch }
                  : word === 'timer'
                    ? { kind: 'timer-fired', epoch }
                    : { kind: word === 'fail' ? 'open-failed' : 'closed', epoch, fault: OUTAGE }
          const { next, effects } = step(current, event, i * 10_000, 0.5, POLICY)
          for (const effect of effects) if (effect.kind === 'open') opened.push(effect.epoch)
          if (next.state.kind === 'starting' && current.state.kind !== 'starting')
            expect(opened.at(-1)).toBe(next.epoch)
          current = next
        })
        expect(new Set(opened).size).toBe(opened.length)
      }),
    )
  })
})

describe('a backoff delay', () => {
  test('lies between the floor and the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.double({ min: 0, max: 0.9999, noNaN: true }),
        (failures, random) => {
          const delay = backoffDelay(POLICY, failures, random)
          expect(delay).toBeGreaterThanOrEqual(POLICY.floorMs)
          expect(delay).toBeLessThanOrEqual(POLICY.capMs)
        },
      ),
    )
  })
})
