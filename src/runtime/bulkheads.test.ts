import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { LIMITS } from '../model/index.js'
import { Admission } from './admission.js'
import { Crowd } from './crowd.js'

const never = () => expect.unreachable()

describe('the places at one server', () => {
  test('are so many, and the next waits until one is free', () => {
    const admission = new Admission(2, virtualClock())
    const served: string[] = []
    expect([admission.tryEnter(), admission.tryEnter(), admission.tryEnter()]).toEqual([true, true, false])
    for (const who of ['a', 'a', 'b']) admission.wait(who, 1_000, () => served.push(who), never)
    expect([admission.inFlight, admission.queued]).toEqual([2, 3])
    admission.leave()
    admission.leave()
    expect(served).toEqual(['a', 'b'])
    expect(admission.tryEnter()).toBe(false)
    admission.leave()
    expect([served, admission.inFlight, admission.queued]).toEqual([['a', 'b', 'a'], 2, 0])
  })

  test('have a queue (LIMITS.queuePerUpstream) that refuses one more, and whoever waited too long (LIMITS.queueMs)', async () => {
    const clock = virtualClock()
    const admission = new Admission(1, clock)
    admission.tryEnter()
    let refused = 0
    for (let i = 0; i < LIMITS.queuePerUpstream; i += 1) {
      expect(admission.wait('a', LIMITS.queueMs, never, () => (refused += 1))).not.toBeNull()
    }
    expect(admission.wait('a', LIMITS.queueMs, never, never)).toBeNull()
    await clock.pass(LIMITS.queueMs - 1)
    expect(refused).toBe(0)
    await clock.pass(1)
    expect([refused, admission.queued]).toEqual([LIMITS.queuePerUpstream, 0])
  })

  test('are not kept for whoever stopped waiting', () => {
    const admission = new Admission(1, virtualClock())
    admission.tryEnter()
    admission.wait('a', 1_000, never, never)?.()
    admission.leave()
    expect([admission.inFlight, admission.queued]).toEqual([0, 0])
  })

  test('come back one after the other (LIMITS.slowStartMs) after an outage', async () => {
    const clock = virtualClock()
    const admission = new Admission(10, clock)
    admission.ramp()
    const places = () => {
      let taken = 0
      while (admission.tryEnter()) taken += 1
      for (let i = 0; i < taken; i += 1) admission.leave()
      return taken
    }
    expect(places()).toBe(1)
    await clock.pass(LIMITS.slowStartMs / 2)
    expect(places()).toBe(5)
    await clock.pass(LIMITS.slowStartMs / 2)
    expect(places()).toBe(10)
  })

  test('come back beside those that calls from before the outage still hold', async () => {
    const clock = virtualClock()
    const admission = new Admission(10, clock)
    for (let i = 0; i < 8; i += 1) admission.tryEnter()
    admission.ramp()
    expect([admission.tryEnter(), admission.tryEnter()]).toEqual([true, false])
    await clock.pass(LIMITS.slowStartMs / 2)
    expect([admission.tryEnter(), admission.tryEnter()]).toEqual([true, false])
  })

  test('that open while the load comes back go to those who wait', async () => {
    const clock = virtualClock()
    const admission = new Admission(10, clock)
    admission.ramp()
    admission.tryEnter()
    let served = 0
    for (let i = 0; i < 5; i += 1) admission.wait('a', 60_000, () => (served += 1), never)
    await clock.pass(LIMITS.slowStartMs)
    expect(served).toBe(5)
  })
})

describe('all calls together', () => {
  test('are bounded (LIMITS.inFlightTotal), and those of one identity (LIMITS.inFlightPerPrincipal)', () => {
    const crowd = new Crowd()
    for (let i = 0; i < LIMITS.inFlightPerPrincipal; i += 1) expect(crowd.enter('eve')).toBeNull()
    expect(crowd.enter('eve')).toMatchObject({ code: 'OVERLOADED', phase: 'never-sent' })
    expect(crowd.enter('bob')).toBeNull()
    crowd.leave('eve')
    expect(crowd.enter('eve')).toBeNull()
    while (crowd.size < LIMITS.inFlightTotal) crowd.enter('local')
    expect(crowd.enter('local')).toMatchObject({ code: 'OVERLOADED' })
    expect(crowd.enter('ann')).toMatchObject({ code: 'OVERLOADED' })
  })
})
