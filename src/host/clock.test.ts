import { describe, expect, test } from 'vitest'
import { LIMITS } from '../model/index.js'
import { createClock, type TimeSource } from './clock.js'

/** A machine whose loop can be stalled: time passes, and nothing fires until it is over. */
class Machine implements TimeSource {
  readonly #timers = new Map<object, { readonly at: number; readonly fn: () => void }>()
  #now = 5_000
  #wall = 1_000_000

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#wall
  }

  set(fn: () => void, ms: number): NodeJS.Timeout {
    const timer = {} as NodeJS.Timeout
    this.#timers.set(timer, { at: this.#now + Math.max(1, Math.trunc(ms)), fn })
    return timer
  }

  clear(timer: NodeJS.Timeout): void {
    this.#timers.delete(timer)
  }

  get pending(): number {
    return this.#timers.size
  }

  /** The loop turns all the while. */
  run(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const [due] = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)
      if (!due) break
      this.#timers.delete(due[0])
      this.#now = Math.max(this.#now, due[1].at)
      due[1].fn()
    }
    this.#now = end
  }

  /** Work that takes long: nothing fires, and nothing has fired yet when it is over. */
  block(ms: number): void {
    this.#now += ms
  }

  /** The loop stands still, then turns. */
  stall(ms: number): void {
    this.block(ms)
    this.run(0)
  }

  jumpWall(ms: number): void {
    this.#wall += ms
  }
}

function setUp() {
  const machine = new Machine()
  const clock = createClock(machine)
  const fired: string[] = []
  const late: number[] = []
  clock.onStall?.(ms => late.push(ms))
  return { machine, clock, fired, late }
}

describe('time', () => {
  test('stands still while the loop is stalled, and every timer moves by that', () => {
    const { machine, clock, fired, late } = setUp()
    const start = clock.now()
    clock.after(5_000, () => fired.push('soon'))
    clock.after(20_000, () => fired.push('later'))
    machine.run(2_000)
    machine.stall(60_000)
    expect(fired).toEqual([])
    expect(late).toHaveLength(1)
    expect(late[0]).toBeGreaterThan(59_000)
    const passed = clock.now() - start
    expect(passed).toBeGreaterThanOrEqual(2_000)
    expect(passed).toBeLessThan(3_100)
    machine.run(1_500)
    expect(fired).toEqual([])
    machine.run(2_000)
    expect(fired).toEqual(['soon'])
    machine.run(15_000)
    expect(fired).toEqual(['soon', 'later'])
  })

  test('is right already for whoever asks first after a stall, before any timer could fire', () => {
    const { machine, clock, late } = setUp()
    const start = clock.now()
    clock.after(90_000, () => undefined)
    machine.run(250)
    machine.block(10_000)
    expect(clock.now() - start).toBeLessThan(1_300)
    expect(late).toHaveLength(1)
    expect(clock.now() - start).toBeLessThan(1_300)
    expect(late).toHaveLength(1)
  })

  test('passes as always through delays that are no stall', () => {
    const { machine, clock, late } = setUp()
    const start = clock.now()
    clock.after(90_000, () => undefined)
    for (let turn = 0; turn < 5; turn++) machine.stall(900)
    expect(clock.now() - start).toBe(4_500)
    expect(late).toEqual([])
  })

  test('does not depend on the wall clock, whichever way that jumps', () => {
    const { machine, clock, fired, late } = setUp()
    const start = clock.now()
    clock.after(5_000, () => fired.push('timer'))
    for (const jump of [86_400_000, -2 * 86_400_000]) {
      machine.jumpWall(jump)
      machine.run(2_000)
    }
    expect([clock.now() - start, fired, late]).toEqual([4_000, [], []])
    machine.run(1_000)
    expect(fired).toEqual(['timer'])
  })

  test('keeps no timer of its own once nobody waits', () => {
    const { machine, clock, fired } = setUp()
    const kept = clock.after(1_000, () => fired.push('fired'))
    const dropped = clock.after(LIMITS.timerMs, () => fired.push('dropped'))
    dropped.cancel()
    dropped.cancel()
    expect(machine.pending).toBe(2)
    machine.run(1_000)
    expect([machine.pending, fired]).toEqual([0, ['fired']])
    kept.cancel()
    clock.after(10, () => undefined).cancel()
    expect(machine.pending).toBe(0)
  })

  test('asks the machine for a long timer only when it is near, and fires it on time', () => {
    const machine = new Machine()
    const clock = createClock(machine)
    const fired: number[] = []
    const startedAt = machine.now()
    const timers = Array.from({ length: 100 }, () => clock.after(60_000, () => fired.push(-1)))
    // The beat alone.
    expect(machine.pending).toBe(1)
    for (const ms of [60_000, 2_001, 5_000.5]) clock.after(ms, () => fired.push(machine.now() - startedAt))
    for (const timer of timers) timer.cancel()
    machine.run(57_000)
    expect(fired).toEqual([2_001, 5_001])
    expect(machine.pending).toBe(1)
    machine.run(3_000)
    expect([fired.at(-1), machine.pending]).toEqual([60_000, 0])
  })

  test('lets a stall move long timers too, and drops one that is cancelled twice once', () => {
    const machine = new Machine()
    const clock = createClock(machine)
    let fired = 0
    clock.after(10_000, () => {
      fired += 1
    })
    const dropped = clock.after(10_000, () => {
      fired += 100
    })
    dropped.cancel()
    dropped.cancel()
    machine.run(1_000)
    machine.stall(60_000)
    machine.run(8_400)
    expect(fired).toBe(0)
    machine.run(600)
    expect([fired, machine.pending]).toEqual([1, 0])
  })
})
