import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { LIMITS } from '../model/index.js'
import { type Identify, identified } from './identity.js'

function ask(identify: Identify | undefined, closed = false) {
  const clock = virtualClock()
  const served: (string | undefined)[] = []
  const answers: { status: number; body: string }[] = []
  let status = 0
  const res = {
    destroyed: closed,
    writeHead: (code: number) => {
      status = code
    },
    end: (body: string) => answers.push({ status, body }),
  } as unknown as ServerResponse
  const serve = identified((_req, _res, _scope, principal) => served.push(principal), identify, clock)
  serve({} as IncomingMessage, res, { kind: 'all' })
  return { clock, served, answers }
}

describe('who calls', () => {
  test('is nobody in particular where nobody says it', () => {
    expect(ask(undefined).served).toEqual([undefined])
  })

  test('is who the program says, at once or later', async () => {
    for (const identify of [() => 'ann', () => Promise.resolve('ann')]) {
      const { clock, served, answers } = ask(identify)
      await clock.pass(0)
      expect([served, answers, clock.armed]).toEqual([['ann'], [], 0])
    }
  })

  test('is refused without a name, and nothing of the reason is told', async () => {
    const refusals: Identify[] = [
      () => '',
      () => undefined as unknown as string,
      () => {
        throw new Error('secret')
      },
      () => Promise.reject(new Error('secret')),
    ]
    for (const identify of refusals) {
      const { clock, served, answers } = ask(identify)
      await clock.pass(0)
      expect([served, answers[0]?.status, clock.armed]).toEqual([[], 401, 0])
      expect(answers[0]?.body).not.toContain('secret')
    }
  })

  test('is refused when that is not known within LIMITS.identifyMs', async () => {
    let tell = (_: string): void => undefined
    const { clock, served, answers } = ask(
      () =>
        new Promise(resolve => {
          tell = resolve
        }),
    )
    await clock.pass(LIMITS.identifyMs - 1)
    expect(answers).toEqual([])
    await clock.pass(1)
    expect(answers).toHaveLength(1)
    tell('ann')
    await clock.pass(0)
    expect(served).toEqual([])
  })

  test('does not matter any more once the client is gone', async () => {
    const { clock, served, answers } = ask(() => 'ann', true)
    await clock.pass(0)
    expect([served, answers]).toEqual([[], []])
  })
})
