import { describe, expect } from 'vitest'
import { failedWith, lost, OK, world } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { describeUpstream } from '../control/status.js'
import { EMPTY_MERGED } from '../core/catalog/index.js'
import { unavailable } from './failures.js'
import type { Connection } from './ports.js'

const DAY = 86_400_000

describe('when the wall clock jumps', () => {
  for (const [way, byMs] of [
    ['a day ahead', DAY],
    ['a day back', -DAY],
  ] as const) {
    verifies(
      ['F57'],
      `${way}, the wait for the next try, and what is said of it, stay as they were`,
      async () => {
        const { supervisor, clock, store, behaviour, opened } = world('http', () => OK)
        clock.jump(10 * DAY)
        behaviour.open = () => lost('refused')
        supervisor.boot()
        await clock.pass(0)
        const told = () => {
          // The one that every list and call has kept since before the jump.
          const view = store.current.upstreams.get('a')
          if (!view) throw new Error('no view')
          const { summary, nextAttemptAt, lastOkAt } = describeUpstream(
            view,
            EMPTY_MERGED,
            { inFlight: 0, queued: 0, lastOkAt: null, instances: null },
            clock,
          )
          const { details, message } = unavailable(view, clock.now())
          return { summary, message, retryAfterMs: details.retryAfterMs, nextAttemptAt, lastOkAt }
        }
        const before = told()
        expect(before.retryAfterMs).toBeGreaterThan(0)
        expect(before.summary).toMatch(/; next try in 1 s\.$/)
        clock.jump(byMs)
        const after = told()
        expect(after).toEqual({ ...before, nextAttemptAt: expect.any(String) })
        // Of the timestamps, the one that is still to come is told by the clock that people see now.
        expect(Date.parse(after.nextAttemptAt ?? '') - Date.parse(before.nextAttemptAt ?? '')).toBe(byMs)
        behaviour.open = () => null
        await clock.pass((before.retryAfterMs ?? 0) - 1)
        expect(opened).toHaveLength(0)
        await clock.pass(1)
        expect(opened).toHaveLength(1)
      },
    )

    verifies(['F57'], `${way}, an open breaker tells the same wait`, async () => {
      const { supervisor, clock, behaviour } = world('http', () => OK)
      clock.jump(10 * DAY)
      supervisor.boot()
      await clock.pass(100)
      behaviour.answer = () => null
      const connection = supervisor.connection as Connection
      for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('reset'), connection)
      const view = supervisor.view()
      expect(view.breaker).toBe('open')
      const { retryAfterMs } = unavailable(view, clock.now()).details
      expect(retryAfterMs).toBeGreaterThan(0)
      clock.jump(byMs)
      for (const each of [view, supervisor.view()])
        expect(unavailable(each, clock.now()).details.retryAfterMs).toBe(retryAfterMs)
    })
  }
})
