import { describe, expect } from 'vitest'
import { startGateway } from '../kit/gateway.js'
import { isAlive, killHard } from '../kit/processes.js'
import { within } from '../kit/slowness.js'
import { expectGone, faultRow } from './harness.js'

describe('a server process that outlives a killed gateway', () => {
  faultRow(
    'F16',
    'is ended when the gateway is started again, and no other process is',
    {
      transports: ['stdio'],
      eras: ['legacy'],
      script: { ignoreStdinEnd: true, ignoreSigterm: true },
      unseen: true,
    },
    async row => {
      const pid = await row.pid()
      try {
        await row.inject()
        await row.end('SIGKILL')
        expect(isAlive(pid)).toBe(true)
        const next = await startGateway(row.gateway.configFile)
        try {
          await within(6_000, expectGone([pid]))
          const { pid: fresh } = await next.waitForState('victim', 'ready')
          expect(isAlive(fresh ?? 0)).toBe(true)
        } finally {
          next.signal('SIGTERM')
          await next.stop()
        }
      } finally {
        if (isAlive(pid)) await killHard(pid)
      }
    },
  )
})
