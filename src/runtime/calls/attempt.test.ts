import { expect, test } from 'vitest'
import { OK } from '../../../test/kit/runtime-world.js'
import { verifies } from '../../../test/kit/verifies.js'
import { virtualClock } from '../../../test/kit/virtual-clock.js'
import { type Call, EMPTY_OBJECT, type Outcome } from '../../model/index.js'
import type { Connection, UpstreamRequest } from '../ports.js'
import { startAttempt } from './attempt.js'

const MINUTE = 60_000
const CALL: Call = {
  method: 'tools/call',
  params: null,
  context: { principal: 'local', scope: { kind: 'all' }, era: 'modern', capabilities: EMPTY_OBJECT },
}

function attempt(requestMs: number, totalMs: number) {
  const clock = virtualClock()
  const outcomes: Outcome[] = []
  let request: UpstreamRequest | null = null
  let cancelled = 0
  const connection = {
    request: (asked: UpstreamRequest) => {
      request = asked
      return {
        cancel: () => {
          cancelled += 1
        },
      }
    },
  } as unknown as Connection
  const timeouts = { connect: 1, start: 1, request: requestMs, total: totalMs, list: 1, listTotal: 1 }
  startAttempt(
    clock,
    {
      call: CALL,
      upstream: 'a',
      connection,
      timeouts,
      totalMs,
      leftMs: totalMs,
      replace: undefined,
      headerParams: undefined,
    },
    outcome => outcomes.push(outcome),
  )
  return {
    clock,
    outcomes,
    cancelled: () => cancelled,
    life: () => request?.onActivity?.(),
    answer: () => request?.settle(OK),
  }
}

verifies(
  ['CS77'],
  'a call of ten minutes lives as long as its server says something within each minute',
  async () => {
    const { clock, outcomes, life, answer } = attempt(MINUTE, 10 * MINUTE)
    for (let at = 0; at < 595_000; at += 59_500) {
      await clock.pass(59_500)
      if (at < 535_500) life()
    }
    expect(outcomes).toEqual([])
    answer()
    await clock.pass(MINUTE)
    expect(outcomes).toEqual([OK])
    expect(clock.armed).toBe(0)
  },
)

verifies(
  ['CS76'],
  'a silent call of four minutes is waited for where its server is given the time',
  async () => {
    const { clock, outcomes, answer } = attempt(5 * MINUTE, 10 * MINUTE)
    await clock.pass(4 * MINUTE)
    expect(outcomes).toEqual([])
    answer()
    expect(outcomes).toEqual([OK])
  },
)

test('a call ends at its whole time, however lively it is', async () => {
  const { clock, outcomes, cancelled, life } = attempt(MINUTE, 10 * MINUTE)
  for (let n = 0; n < 60; n += 1) {
    await clock.pass(10_000)
    life()
  }
  expect(outcomes[0]).toMatchObject({ kind: 'unknown', error: { code: 'CALL_TIMEOUT' } })
  expect(outcomes).toHaveLength(1)
  expect(cancelled()).toBe(1)
})
