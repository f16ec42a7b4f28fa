import { describe, expect } from 'vitest'
import { freeze, residentBytes, thaw } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'
import { until } from '../kit/until.js'
import { faultRow } from './harness.js'

const STDIO = { transports: ['stdio'] } as const
const MIB = 1024 * 1024

describe('a server that does not read its stdin', () => {
  faultRow(
    'F12',
    'for a while has a bounded queue; what did not fit is said not to have been sent, the rest is answered later',
    { ...STDIO, unseen: true },
    async row => {
      const pid = await row.pid()
      const before = residentBytes(row.gateway.pid)
      await row.inject(() => freeze(pid))
      const filling = 'x'.repeat(200_000)
      const calls = Array.from({ length: 8 }, () => row.everybody('echo', { filling })).flat()
      await until('a call is refused', () => calls.some(({ answers }) => answers.length > 0))
      expect(residentBytes(row.gateway.pid) - before).toBeLessThan(64 * MIB)
      await row.lift(() => thaw(pid))
      const answers = await Promise.all(calls.map(({ answer }) => answer))
      const refused = answers.flatMap(({ failure }) => failure ?? [])
      expect(refused.length).toBeGreaterThan(0)
      expect(refused.length).toBeLessThan(calls.length)
      for (const { kind, upstream } of refused) {
        expect(['unavailable', 'overloaded']).toContain(kind)
        expect(upstream).toBe('victim')
      }
      // Two ran before the fault.
      expect(row.victim.records.runs('echo') - 2).toBe(calls.length - refused.length)
      expect((await row.status()).restarts).toBe(0)
    },
  )

  faultRow(
    'F13',
    'any more, because it closed it, is started anew, and every caller is told',
    STDIO,
    async row => {
      const pid = await row.pid()
      await row.inject(() => row.victim.closeInput())
      for (const { failure, ms } of await row.answers('count', {}, { mute: true })) {
        expect([undefined, 'outcome_unknown']).toContain(failure?.kind)
        await expectWithin(ms, 2_000)
      }
      expect(await row.pid()).not.toBe(pid)
      await row.lift()
      await row.shows(/closed its input/)
    },
  )
})
