import { describe, expect, test } from 'vitest'
import { lost, OK, world } from '../../../test/kit/runtime-world.js'
import { type Call, GatewayError, type Outcome } from '../../model/index.js'
import { objectAt } from '../../wire/index.js'
import { startCall } from './start.js'

const CALL: Call = {
  method: 'tools/call',
  params: objectAt(Buffer.from('{"name":"a__t"}')),
  context: { principal: 'local', scope: { kind: 'all' }, era: 'legacy', capabilities: Buffer.from('{}') },
}

const LISTED: Outcome = {
  ...OK,
  reply: { result: Buffer.from('{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}') },
} as Outcome

/** A server that is connected, and whose first list failed with this. */
async function unlisted(error: GatewayError) {
  const made = world('http', () => ({ kind: 'rejected', error }))
  made.supervisor.boot()
  await made.clock.pass(100)
  const room = { ...made, supervisor: () => made.supervisor }
  const outcomes: Outcome[] = []
  const call = () => startCall(room, CALL, outcome => outcomes.push(outcome))
  return { ...made, call, outcomes }
}

const throttledFor = (retryAfterMs: number) =>
  new GatewayError('OVERLOADED', 'a: HTTP 429', {
    upstream: 'a',
    reason: 'HTTP 429',
    phase: 'rejected',
    retryAfterMs,
  })

describe('a call to a server whose list could not be had', () => {
  test('is told at once for how long the server wants to be left alone', async () => {
    const { call, outcomes, clock } = await unlisted(throttledFor(60_000))
    call()
    await clock.pass(0)
    expect(outcomes).toMatchObject([
      { kind: 'never-sent', error: { code: 'UPSTREAM_UNAVAILABLE', details: { upstream: 'a' } } },
    ])
    const { details } = (outcomes[0] as Extract<Outcome, { error: GatewayError }>).error
    expect(details.reason).toBe('it asked to be left alone for another 60 s')
    expect(details.retryAfterMs).toBeCloseTo(59_900, -3)
  })

  test('waits for the end of a rest that is near, and for the list after it', async () => {
    const { call, outcomes, clock, behaviour } = await unlisted(throttledFor(3_000))
    behaviour.answer = ({ method }) => (method === 'tools/list' ? LISTED : OK)
    call()
    await clock.pass(2_000)
    expect(outcomes).toEqual([])
    await clock.pass(3_000)
    expect(outcomes).toMatchObject([{ kind: 'answered' }])
  })

  test('is told why the list could not be had', async () => {
    const { call, outcomes, clock } = await unlisted(lost('HTTP 503 from POST /mcp'))
    call()
    await clock.pass(0)
    const { details } = (outcomes[0] as Extract<Outcome, { error: GatewayError }>).error
    expect(details.reason).toBe('its list could not be had: HTTP 503 from POST /mcp')
  })
})
