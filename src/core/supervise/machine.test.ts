import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../../test/kit/verifies.js'
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
    expect(delays.slice(0, 4).map(delay => Math.round(delay / 1000))).toEqual([1, 2, 4, 5])
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

  test('whose session was lost gets a new one at once, and not twice within a moment', () => {
    const lost = { ...OUTAGE, renews: true }
    const { kind, current } = drive(
      [0, { kind: 'boot' }],
      [10, { kind: 'open-failed', epoch: 1, fault: OUTAGE }],
      [2_000, { kind: 'timer-fired', epoch: 1 }],
      [2_010, { kind: 'opened', epoch: 2 }],
      [2_020, { kind: 'closed', epoch: 2, fault: lost }],
    )
    expect(kind).toBe('starting')
    expect(current).toMatchObject({ failures: 1, lastFault: lost })
    const again = (at: number) => {
      const ready = step(current, { kind: 'opened', epoch: 3 }, 2_030, 0, POLICY).next
      return step(ready, { kind: 'closed', epoch: 3, fault: lost }, at, 0.999, POLICY).next.state.kind
    }
    expect(again(2_020 + POLICY.renewEveryMs - 1)).toBe('backoff')
    expect(again(2_020 + POLICY.renewEveryMs)).toBe('starting')
  })

  test('that is misconfigured is tried rarely, and on demand', () => {
    const failing: [number, SuperviseEvent][] = [
      [0, { kind: 'boot' }],
      [10, { kind: 'open-failed', epoch: 1, fault: { class: 'misconfigured', reason: 'x' } }],
    ]
    const { current } = drive(...failing)
    expect(current.state).toMatchObject({ kind: 'misconfigured', until: 10 + POLICY.slowMs })
    expect(drive(...failing, [POLICY.demandAfterMs, { kind: 'demanded' }]).kind).toBe('starting')
  })

  test('that wants a sign-in waits for a person: no timer, no demand', () => {
    const failing: [number, SuperviseEvent][] = [
      [0, { kind: 'boot' }],
      [10, { kind: 'open-failed', epoch: 1, fault: { class: 'auth_required', reason: 'x' } }],
    ]
    expect(drive(...failing).effects.at(-1)).toBe('disarm-timer')
    expect(drive(...failing, [1e9, { kind: 'demanded' }]).kind).toBe('auth_required')
    expect(drive(...failing, [1e9, { kind: 'restarted' }]).kind).toBe('starting')
  })

  test('in backoff is tried on demand, once the last try is old enough', () => {
    const failing: [number, SuperviseEvent][] = [
      [0, { kind: 'boot' }],
      [0, { kind: 'open-failed', epoch: 1, fault: OUTAGE }],
    ]
    expect(drive(...failing, [POLICY.demandAfterMs - 1, { kind: 'demanded' }]).kind).toBe('backoff')
    expect(drive(...failing, [POLICY.demandAfterMs, { kind: 'demanded' }]).kind).toBe('starting')
  })

  verifies(['H94'], 'hears nothing from attempts of the past', () => {
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
        expect(stopped.kind).toBe('draining')
        expect(step(stopped.current, { kind: 'gone' }, 1, 0, POLICY).next.state.kind).toBe('stopped')
        let disabled: Supervised = { ...INITIAL, state: { kind: 'disabled' } }
        for (const event of events) disabled = step(disabled, event, 1, 0, POLICY).next
        expect(['disabled', 'stopped']).toContain(disabled.state.kind)
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

const ENDS = { ...OUTAGE, counts: true }

/** Starts, dies, and so on; `lived` ms after each handshake. */
function crash(times: number, lived: number, fault = ENDS, from: Supervised = INITIAL) {
  let current = from
  let now = 0
  const kinds: string[] = []
  const feed = (event: SuperviseEvent) => {
    current = step(current, event, now, 0.5, POLICY).next
  }
  for (let i = 0; i < times; i += 1) {
    if (current.state.kind === 'idle') feed({ kind: 'boot' })
    if ('until' in current.state) {
      now = current.state.until
      feed({ kind: 'timer-fired', epoch: current.epoch })
    }
    feed({ kind: 'opened', epoch: current.epoch })
    now += lived
    feed({ kind: 'closed', epoch: current.epoch, fault })
    kinds.push(current.state.kind)
  }
  return { current, kinds, now, delay: 'until' in current.state ? current.state.until - now : 0 }
}

describe('a crash loop', () => {
  test('ends in quarantine at the fifth end within two minutes, and is tried every five minutes for ever', () => {
    const { kinds, delay } = crash(12, 10)
    expect(kinds.slice(0, 5)).toEqual(['starting', 'backoff', 'backoff', 'backoff', 'quarantined'])
    expect(kinds.slice(5)).toEqual(Array(7).fill('quarantined'))
    expect(delay).toBe(POLICY.quarantineMs)
  })

  test('is not one where the ends lie far apart, do not count, or are our own fault', () => {
    expect(crash(20, 61_000).kinds).not.toContain('quarantined')
    expect(crash(20, 10, OUTAGE as typeof ENDS).kinds).not.toContain('quarantined')
    expect(crash(20, 10, { ...ENDS, local: true } as typeof ENDS).kinds).not.toContain('quarantined')
  })

  verifies(['I109'], 'is forgiven after a healthy run, and by a person', () => {
    const { current, now } = crash(6, 10)
    const due = 'until' in current.state ? current.state.until : 0
    let ready = step(current, { kind: 'timer-fired', epoch: current.epoch }, due, 0.5, POLICY).next
    ready = step(ready, { kind: 'opened', epoch: ready.epoch }, due, 0.5, POLICY).next
    const end = (at: number) =>
      step(ready, { kind: 'closed', epoch: ready.epoch, fault: ENDS }, at, 0.5, POLICY).next.state.kind
    expect(end(due + POLICY.resetAfterMs - 1)).toBe('quarantined')
    expect(end(due + POLICY.resetAfterMs)).toBe('starting')
    expect(step(current, { kind: 'restarted' }, now, 0.5, POLICY).next).toMatchObject({
      state: { kind: 'starting' },
      failures: 0,
      condemned: false,
    })
  })

  verifies(['F66'], 'is none where the ends turn out to be our own fault, also after the sentence', () => {
    const { current, now } = crash(5, 10)
    const pardon = (since: number) => step(current, { kind: 'pardoned', since }, now, 0.5, POLICY)
    expect(pardon(now + 1)).toEqual({ next: current, effects: [] })
    expect(pardon(now)).toMatchObject({
      next: { state: { kind: 'starting' }, condemned: false },
      effects: [{ kind: 'disarm-timer' }, { kind: 'open' }],
    })
    // One that was condemned before stays so.
    const relapsed = { ...current, ends: [now] }
    const { next } = step(relapsed, { kind: 'pardoned', since: now }, now, 0.5, POLICY)
    expect(next).toMatchObject({ state: { kind: 'quarantined' }, condemned: true, ends: [] })
  })

  test('in quarantine lets a call try after fifteen seconds', () => {
    const { current, now } = crash(6, 10)
    const tried = 'triedAt' in current.state ? current.state.triedAt : now
    const demand = (at: number) => step(current, { kind: 'demanded' }, at, 0.5, POLICY).next.state.kind
    expect(demand(tried + POLICY.quarantineDemandMs - 1)).toBe('quarantined')
    expect(demand(tried + POLICY.quarantineDemandMs)).toBe('starting')
  })
})

describe('what a server or a person asks for', () => {
  const fail = (fault: typeof OUTAGE & { retryAfterMs?: number }) =>
    drive([0, { kind: 'boot' }], [0, { kind: 'open-failed', epoch: 1, fault }]).current

  test('Retry-After holds off timer and demand', () => {
    const held = fail({ ...OUTAGE, retryAfterMs: 30_000 })
    expect(held.state).toMatchObject({ kind: 'backoff', until: 30_000 })
    expect(step(held, { kind: 'demanded' }, 29_999, 0, POLICY).next).toBe(held)
    expect(step(held, { kind: 'demanded' }, 30_000, 0, POLICY).next.state.kind).toBe('starting')
  })

  test('an idle server is put to sleep', () => {
    const ready = drive([0, { kind: 'boot' }], [1, { kind: 'opened', epoch: 1 }]).current
    const asleep = step(ready, { kind: 'idled' }, 2, 0, POLICY)
    expect([asleep.next.state.kind, ...asleep.effects.map(effect => effect.kind)]).toEqual([
      'idle',
      'disarm-timer',
      'close',
    ])
    expect(step(asleep.next, { kind: 'idled' }, 3, 0, POLICY).next).toBe(asleep.next)
    expect(step(asleep.next, { kind: 'closed', epoch: 1, fault: OUTAGE }, 3, 0, POLICY).next).toBe(
      asleep.next,
    )
    expect(step(asleep.next, { kind: 'demanded' }, 3, 0, POLICY).next.state.kind).toBe('starting')
  })

  test('a disabled server hears only that it is enabled, or that all ends', () => {
    const ready = drive([0, { kind: 'boot' }], [1, { kind: 'opened', epoch: 1 }]).current
    const off = step(ready, { kind: 'disabled' }, 2, 0, POLICY)
    expect(off.effects.map(effect => effect.kind)).toEqual(['disarm-timer', 'close'])
    for (const kind of ['boot', 'demanded', 'restarted', 'idled', 'disabled'] as const)
      expect(step(off.next, { kind }, 3, 0, POLICY).next).toBe(off.next)
    expect(step(off.next, { kind: 'enabled' }, 3, 0, POLICY).next.state.kind).toBe('starting')
    expect(step(off.next, { kind: 'stopped' }, 3, 0, POLICY).next.state.kind).toBe('stopped')
  })
})

/** Every pair that does something; all others leave the very same object. */
const TABLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  idle: {
    boot: 'starting',
    demanded: 'starting',
    restarted: 'starting',
    disabled: 'disabled',
    stopped: 'draining',
  },
  starting: {
    opened: 'ready',
    'open-failed': 'backoff',
    restarted: 'starting',
    disabled: 'disabled',
    stopped: 'draining',
  },
  ready: {
    closed: 'starting',
    restarted: 'starting',
    idled: 'idle',
    disabled: 'disabled',
    stopped: 'draining',
  },
  backoff: {
    demanded: 'starting',
    'timer-fired': 'starting',
    restarted: 'starting',
    idled: 'idle',
    disabled: 'disabled',
    stopped: 'draining',
  },
  misconfigured: {
    demanded: 'starting',
    'timer-fired': 'starting',
    restarted: 'starting',
    disabled: 'disabled',
    stopped: 'draining',
  },
  quarantined: {
    demanded: 'starting',
    'timer-fired': 'starting',
    restarted: 'starting',
    idled: 'idle',
    disabled: 'disabled',
    stopped: 'draining',
  },
  auth_required: { restarted: 'starting', disabled: 'disabled', stopped: 'draining' },
  disabled: { enabled: 'starting', stopped: 'stopped' },
  draining: { gone: 'stopped' },
  stopped: {},
}

describe('the table of transitions', () => {
  const waiting = { fault: OUTAGE, until: 50, triedAt: 0, notBefore: 0 }
  const states: Record<string, Supervised['state']> = {
    idle: { kind: 'idle' },
    starting: { kind: 'starting', startedAt: 0 },
    ready: { kind: 'ready', readyAt: 0 },
    backoff: { kind: 'backoff', ...waiting },
    misconfigured: { kind: 'misconfigured', ...waiting },
    quarantined: { kind: 'quarantined', ...waiting },
    auth_required: { kind: 'auth_required', fault: OUTAGE, triedAt: 0 },
    disabled: { kind: 'disabled' },
    draining: { kind: 'draining' },
    stopped: { kind: 'stopped' },
  }
  const events: readonly SuperviseEvent[] = [
    { kind: 'boot' },
    { kind: 'demanded' },
    { kind: 'opened', epoch: 7 },
    { kind: 'open-failed', epoch: 7, fault: OUTAGE },
    { kind: 'closed', epoch: 7, fault: OUTAGE },
    { kind: 'timer-fired', epoch: 7 },
    { kind: 'restarted' },
    { kind: 'enabled' },
    { kind: 'disabled' },
    { kind: 'idled' },
    { kind: 'stopped' },
    { kind: 'gone' },
  ]

  for (const [name, state] of Object.entries(states)) {
    test(`of ${name} is whole: what is not in it changes nothing`, () => {
      const current: Supervised = { ...INITIAL, epoch: 7, state }
      for (const event of events) {
        const { next, effects } = step(current, event, 1e6, 0.5, POLICY)
        const expected = TABLE[name]?.[event.kind]
        if (expected === undefined) {
          expect([event.kind, next === current, effects]).toEqual([event.kind, true, []])
        } else expect([event.kind, next.state.kind]).toEqual([event.kind, expected])
        if ('epoch' in event)
          expect(step(current, { ...event, epoch: 6 }, 1e6, 0.5, POLICY).next).toBe(current)
      }
    })
  }
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
