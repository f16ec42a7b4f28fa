import { describe, expect } from 'vitest'
import { runCommand } from '../kit/gateway.js'
import { expectWithin } from '../kit/slowness.js'
import { faultRow } from './harness.js'

const CALLS = 50

describe('a server that refuses the credentials of its entry', () => {
  faultRow(
    'F38',
    'in the middle of a hundred calls answers each of them, is asked no more, and is back when a person says so',
    { transports: ['http', 'sse'] },
    async row => {
      const { victim, gateway } = row
      const asked = () => victim.records.ofKind('request').length
      await row.inject(() => victim.patch({ faults: [{ on: 'POST', do: { kind: 'http', status: 401 } }] }))
      const before = asked()
      const calls = Array.from({ length: CALLS }, () => row.everybody('echo')).flat()
      for (const { answer } of calls) {
        expect((await answer).failure).toMatchObject({ kind: 'auth_required', upstream: 'victim' })
      }
      await gateway.waitForState('victim', 'auth_required')
      // Each call was sent at most once, and no try to mend it was made on its own account.
      expect(asked() - before).toBeLessThanOrEqual(calls.length)
      expect(victim.records.runs('echo')).toBe(2)
      const later = asked()
      for (const { failure, ms } of await row.answers('echo')) {
        expect(failure).toMatchObject({ kind: 'auth_required', upstream: 'victim' })
        await expectWithin(ms, 500)
      }
      expect(asked()).toBe(later)
      expect(await row.status()).toMatchObject({ action: 'sign_in', nextAttemptAt: null })
      await row.tells(/HTTP 401/)
      await row.lift(async () => {
        await victim.patch({ faults: [] })
        const { code, stderr } = await runCommand(['restart', 'victim', '--url', gateway.url])
        expect(code, stderr).toBe(0)
      })
    },
  )
})
