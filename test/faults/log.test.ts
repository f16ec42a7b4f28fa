import { describe, expect } from 'vitest'
import { killHard } from '../kit/processes.js'
import { faultRow } from './harness.js'

describe('the log', () => {
  faultRow(
    'F01',
    'tells of a death and its cause although the restart comes at once',
    { transports: ['stdio'] },
    async row => {
      const pid = await row.pid()
      await row.inject(() => killHard(pid))
      await row.lift()
      await row.logs(/killed by SIGKILL/)
      expect(row.logLines(/killed by SIGKILL/).length).toBe(1)
    },
  )
})
