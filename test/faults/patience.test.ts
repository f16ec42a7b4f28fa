import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { descendantsOf, isAlive } from '../kit/processes.js'
import { writeProgram } from '../kit/programs.js'
import { freshFolder } from '../kit/run-folder.js'
import { expectWithin, slowness, within } from '../kit/slowness.js'
import { until } from '../kit/until.js'
import { expectGone, faultRow } from './harness.js'

const missing = join(freshFolder('programs'), 'not-there-yet')
const TRIES = 3

// Rows about times that no config shortens. They spend them waiting, and do so side by side.
describe.concurrent('a server', () => {
  faultRow(
    'F03',
    'whose command is missing or not executable is misconfigured at once, with the path, and mended by a call',
    {
      transports: ['stdio'],
      eras: ['legacy'],
      entry: () => ({ command: missing }),
      servers: { locked: { command: lockedFile() } },
      fromStart: true,
      // A call may start a try 5 s after the last one.
      recoverMs: 8_000,
    },
    async row => {
      await row.inject()
      const slow = await slowness()
      const { reason, since } = await row.gateway.waitForState('victim', 'misconfigured', 1_000 * slow)
      expect(reason).toBe(`command not found: ${missing}`)
      const { startedAt } = (await row.gateway.status()).gateway
      expect((Date.parse(since) - Date.parse(startedAt)) / slow).toBeLessThan(1_000)
      expect((await row.gateway.upstream('locked')).reason).toMatch(/^not executable: .*locked$/)
      for (const { failure, ms } of await row.answers('echo')) {
        expect(failure?.upstream).toBe('victim')
        expect(failure?.reason).toContain(missing)
        await expectWithin(ms, 500)
      }
      await row.tells(/command not found: .*not-there-yet/)
      const { command, args = [] } = row.victim.entry
      await row.lift(() => writeProgram(missing, [command ?? '', ...args]))
    },
  )

  faultRow(
    'F04',
    'is quarantined after its budget, tried rarely, and comes back by a call once it can',
    {
      transports: ['stdio'],
      eras: ['legacy'],
      script: { faults: [{ on: 'start', do: { kind: 'crash', code: 3, stderr: 'no database' } }] },
      holdfast: { restart: { max: TRIES } },
      fromStart: true,
      // In quarantine a call may start a try 15 s after the last one.
      recoverMs: 17_000,
      timeoutMs: 45_000,
    },
    async row => {
      await row.inject()
      await row.gateway.waitForState('victim', 'quarantined')
      const { spawns } = row.victim.records
      // A try may take two processes: one that dies of the era probe is started again without it.
      expect(spawns).toBeLessThanOrEqual(2 * TRIES)
      const { nextAttemptAt, attempts, health } = await row.status()
      expect({ attempts, health }).toEqual({ attempts: TRIES, health: 'unhealthy' })
      const rare = Date.parse(nextAttemptAt ?? '') - Date.now()
      expect(rare).toBeGreaterThan(0.8 * 300_000 - 5_000)
      expect(rare).toBeLessThan(1.2 * 300_000)
      for (const { failure, said, ms } of await row.answers('echo')) {
        expect(failure).toMatchObject({ kind: 'unavailable', upstream: 'victim' })
        expect(said).toMatch(/exited with code 3: no database/)
        await expectWithin(ms, 500)
      }
      await row.tells(/exited with code 3: no database/)
      expect(row.victim.records.spawns).toBe(spawns)
      expect(row.victim.records.pids.filter(isAlive)).toEqual([])
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F14',
    'that ignores the end of stdin and SIGTERM is killed with its group',
    {
      transports: ['stdio'],
      eras: ['legacy'],
      script: { ignoreSigterm: true, ignoreStdinEnd: true, grandchild: true },
      unseen: true,
    },
    async row => {
      const tree = descendantsOf(row.gateway.pid)
      expect(tree.length).toBe(3)
      await row.inject()
      const { code, ms } = await row.end('SIGTERM')
      expect(code).toBe(0)
      // Stdin is closed, 2 s later SIGTERM, 3 s later SIGKILL.
      expect(ms).toBeGreaterThan(4_500)
      expect(ms).toBeLessThan(9_000)
      await expectGone(tree, 100)
      const seen = row.victim.records.all.map(({ kind }) => kind)
      expect(seen.indexOf('stdin-end')).toBeGreaterThan(0)
      expect(seen.indexOf('sigterm')).toBeGreaterThan(seen.indexOf('stdin-end'))
    },
  )

  faultRow(
    'F25',
    'that ignores cancellations and never answers gets the places back after a grace',
    { transports: ['stdio', 'http'], eras: ['legacy'], script: { ignoreCancel: true }, unseen: true },
    async row => {
      const calls = await row.held()
      await row.inject(() => {
        for (const sent of calls) sent.cancel()
      })
      await row.lift()
      const isFree = async () => (await row.status()).inFlight === 0
      await within(8_000, until('no place is taken', isFree))
    },
  )
})

function lockedFile(): string {
  const path = join(freshFolder('programs'), 'locked')
  writeFileSync(path, '')
  return path
}
