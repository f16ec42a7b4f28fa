import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { waitForExit } from '../kit/processes.js'
import { faultRow } from './harness.js'

describe('a lazy server process that ends', () => {
  faultRow(
    'F02',
    'with exit code 0 while idle and lazy: started by the next call alone, and listed all the time',
    { transports: ['stdio'], holdfast: { lazy: true }, fromStart: true },
    async row => {
      await row.answers('echo')
      const pid = await row.pid()
      const names = await row.clients[0].tools()
      await row.inject(() => row.victim.quit({ code: 0 }))
      await waitForExit(pid)
      await delay(300)
      expect(row.victim.records.spawns).toBe(1)
      expect(await row.clients[0].tools()).toEqual(names)
      await row.lift()
      await row.answers('echo')
      expect(row.victim.records.spawns).toBe(2)
      await row.shows(/exited with code 0/)
    },
  )
})
