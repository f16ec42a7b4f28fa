import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { ChangeTeller } from './changes.js'

function teller() {
  const clock = virtualClock()
  const told: string[] = []
  const changes = new ChangeTeller(clock, list => told.push(`${list} ${clock.now()}`))
  return { clock, told, changes }
}

describe('changes of lists', () => {
  test('are told at once, then at most once in five seconds each, and the last one never gets lost', async () => {
    const { clock, told, changes } = teller()
    for (let ms = 0; ms < 12_000; ms += 10) {
      changes.note('tools')
      if (ms === 7_000) changes.note('prompts')
      await clock.pass(10)
    }
    await clock.pass(60_000)
    expect(told).toEqual(['tools 0', 'tools 5000', 'prompts 7000', 'tools 10000', 'tools 15000'])
  })

  test('of templates are changes of resources', async () => {
    const { clock, told, changes } = teller()
    changes.note('resources')
    changes.note('resourceTemplates')
    await clock.pass(10_000)
    expect(told).toEqual(['resources 0'])
  })

  test('are not told to a client that has left', async () => {
    const { clock, told, changes } = teller()
    changes.note('tools')
    changes.stop()
    await clock.pass(10_000)
    expect([told, clock.armed]).toEqual([[], 0])
  })
})
