import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { writeProgram } from '../kit/programs.js'
import { freshFolder } from '../kit/run-folder.js'
import { WallClock } from '../kit/wall-clock.js'
import { faultRow } from './harness.js'

const DAY = 86_400_000
/** A server that is misconfigured is tried every five minutes. */
const SLOW_MS = 300_000

const clock = new WallClock()

// The second row waits most of its time, and does so side by side.
describe.concurrent('when the wall clock of the gateway jumps', () => {
  faultRow(
    'F57',
    'a day ahead and two back, calls have their time, and servers and sessions stay as they are',
    { env: clock.env, unseen: true },
    async row => {
      const before = await row.status()
      const names = await row.clients[0].tools()
      const calls = await row.held()
      for (const ahead of [DAY, -DAY]) {
        await row.inject(() => clock.set(row.gateway, ahead))
        for (const { failure } of await row.answers('echo', { n: 1 })) expect(failure).toBe(null)
        expect(await row.clients[0].tools()).toEqual(names)
        const { state, health, breaker, since, pid, restarts, inFlight, lastOkAt } = await row.status()
        const { pid: samePid, since: sameSince } = before
        expect({ state, health, breaker, since, pid, restarts, inFlight }).toEqual({
          state: 'ready',
          health: 'healthy',
          breaker: 'closed',
          since: sameSince,
          pid: samePid,
          restarts: 0,
          inFlight: calls.length,
        })
        expect(Math.abs(Date.parse(lastOkAt ?? '') - clock.now(row.gateway))).toBeLessThan(10_000)
      }
      await row.victim.release('held', calls.length)
      for (const { answer } of calls) expect((await answer).failure).toBe(null)
      await row.lift(() => clock.set(row.gateway, 0))
    },
  )

  faultRow(
    'F57',
    'a day ahead and two back, a server that is down is tried as it would have been, and says when',
    {
      env: clock.env,
      script: ({ transport }) => ({
        faults:
          transport === 'stdio'
            ? []
            : (['GET', 'POST'] as const).map(on => ({ on, do: { kind: 'http', status: 404 } })),
      }),
      entry: fake =>
        fake.transport === 'stdio' ? { command: join(freshFolder('programs'), 'later') } : fake.entry,
      fromStart: true,
      // A call may start a try 5 s after the last one.
      recoverMs: 8_000,
    },
    async row => {
      const { reason } = await row.gateway.waitForState('victim', 'misconfigured')
      for (const ahead of [DAY, -DAY]) {
        await row.inject(() => clock.set(row.gateway, ahead))
        for (const { failure, said } of await row.answers('echo')) {
          expect(failure?.upstream).toBe('victim')
          expect(failure?.retryAfterMs).toBeGreaterThan(SLOW_MS - 20_000)
          expect(failure?.retryAfterMs).toBeLessThanOrEqual(SLOW_MS)
          expect(said).toMatch(/; next try in (2[89]\d|300) s/)
        }
        const { nextAttemptAt, summary } = await row.gateway.waitForState('victim', 'misconfigured')
        expect(summary).toMatch(/; next try in (2[89]\d|300) s/)
        const left = Date.parse(nextAttemptAt ?? '') - clock.now(row.gateway)
        expect(left).toBeGreaterThan(SLOW_MS - 20_000)
        expect(left).toBeLessThan(SLOW_MS + 1_000)
      }
      await clock.set(row.gateway, 0)
      await row.tells(/command not found: .*later|HTTP 404/)
      await row.lift(async () => {
        const { command, args = [] } = row.victim.entry
        const [, path] = reason?.match(/^command not found: (.*)$/) ?? []
        if (path) writeProgram(path, [command ?? '', ...args])
        else await row.victim.patch({ faults: [] })
      })
    },
  )
})
