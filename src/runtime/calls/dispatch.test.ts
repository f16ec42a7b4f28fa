import { describe, expect, test } from 'vitest'
import { type Answer, failedWith, lost, OK, SPEC, world } from '../../../test/kit/runtime-world.js'
import { verifies } from '../../../test/kit/verifies.js'
import { type Call, GatewayError, LIMITS, type Outcome, type UpstreamSpec } from '../../model/index.js'
import { objectAt } from '../../wire/index.js'
import { Dispatch } from './dispatch.js'

const refused = (): Outcome => ({
  kind: 'never-sent',
  error: new GatewayError('UPSTREAM_UNAVAILABLE', 'a: refused', { upstream: 'a', reason: 'refused' }),
})
const rejected = (part: object): Outcome => ({
  kind: 'rejected',
  error: new GatewayError('UPSTREAM_UNAVAILABLE', 'a: HTTP 404', {
    phase: 'rejected',
    reason: 'HTTP 404',
    ...part,
  }),
})

function callOf(method: string, name = 't', params: object = { name }): Call {
  const bytes = Buffer.from(JSON.stringify(params))
  return {
    method,
    params: objectAt(bytes),
    context: {
      principal: 'local',
      scope: { kind: 'all' },
      era: 'legacy',
      capabilities: Buffer.from('{}'),
    },
  }
}

/** A server that answers lists and pings, and calls as the script says, one entry a call. */
function scripted(
  script: (Outcome | null)[],
  part: Partial<UpstreamSpec> = {},
  kind: 'stdio' | 'http' = 'http',
) {
  const calls: string[] = []
  const answer: Answer = request => {
    if (!request.context) return OK
    calls.push(request.method)
    return script[calls.length - 1] ?? OK
  }
  const made = world(kind, answer, part)
  const send = (call: Call, entry: { bytes: string } | null = null) => {
    const outcomes: Outcome[] = []
    const component = entry && { kind: 'tools', key: 't', bytes: Buffer.from(entry.bytes) }
    const dispatch = new Dispatch(
      made,
      made.supervisor,
      {
        call,
        target: { kind: 'tool', name: 't' },
        native: 't',
        entry: component && ({ kind: 'tools', key: 'a__t', upstream: 'a', component } as never),
      },
      outcome => outcomes.push(outcome),
    ).start()
    return { outcomes, dispatch }
  }
  return { ...made, calls, send }
}

async function started(...args: Parameters<typeof scripted>) {
  const made = scripted(...args)
  made.supervisor.boot()
  await made.clock.pass(0)
  return made
}

describe('a call whose outcome is unknown', () => {
  test('is never repeated when it may have had an effect', async () => {
    const { send, clock, calls } = await started([failedWith('reset')])
    const { outcomes } = send(callOf('tools/call'))
    await clock.pass(60_000)
    expect(calls).toHaveLength(1)
    expect(outcomes).toMatchObject([{ kind: 'unknown', error: { code: 'OUTCOME_UNKNOWN' } }])
  })

  test('is repeated once when it only reads, or is vouched for', async () => {
    const trusted = { supervision: { ...SPEC.supervision, trusted: true } }
    const named = { supervision: { ...SPEC.supervision, idempotent: ['t*'] } }
    const readOnly = { bytes: '{"name":"t","annotations":{"readOnlyHint":true}}' }
    for (const [call, part, entry] of [
      [callOf('resources/read', '', { uri: 'x' }), {}, null],
      [callOf('tools/call'), named, null],
      [callOf('tools/call'), trusted, readOnly],
    ] as const) {
      const { send, clock, calls } = await started([failedWith('reset'), failedWith('reset again')], part)
      const { outcomes } = send(call, entry)
      await clock.pass(60_000)
      expect(calls).toHaveLength(2)
      expect(outcomes).toMatchObject([{ kind: 'unknown', error: { details: { attempts: 2 } } }])
    }
  })

  test('is not repeated on the word of a server that nobody trusts, nor when it carries answers on', async () => {
    const readOnly = { bytes: '{"name":"t","annotations":{"readOnlyHint":true}}' }
    const untrusted = await started([failedWith('reset')])
    untrusted.send(callOf('tools/call'), readOnly)
    await untrusted.clock.pass(60_000)
    expect(untrusted.calls).toHaveLength(1)
    const carried = await started([failedWith('reset')])
    carried.send(callOf('resources/read', '', { uri: 'x', requestState: 's' }))
    await carried.clock.pass(60_000)
    expect(carried.calls).toHaveLength(1)
  })

  test('is not repeated once the caller was shown something of it', async () => {
    const made = world('http', request => {
      if (!request.context) return OK
      request.onActivity?.()
      return failedWith('cut')
    })
    made.supervisor.boot()
    await made.clock.pass(0)
    const outcomes: Outcome[] = []
    const request = {
      call: callOf('resources/read', '', { uri: 'x' }),
      target: { kind: 'resource', uri: 'x' } as const,
      native: 'x',
      entry: null,
    }
    new Dispatch(made, made.supervisor, request, outcome => outcomes.push(outcome)).start()
    await made.clock.pass(60_000)
    expect(made.asked.filter(method => method === 'resources/read')).toHaveLength(1)
    expect(outcomes).toHaveLength(1)
  })
})

describe('a call that was never sent, or refused', () => {
  test('goes again, three times in all, and says so', async () => {
    const { send, clock, calls } = await started([refused(), refused(), refused()])
    const { outcomes } = send(callOf('tools/call'))
    await clock.pass(5_000)
    expect(calls).toHaveLength(3)
    expect(outcomes).toMatchObject([{ kind: 'never-sent', error: { details: { attempts: 3 } } }])
  })

  test('comes through when the second try does', async () => {
    const { send, clock } = await started([refused(), OK])
    const { outcomes } = send(callOf('tools/call'))
    await clock.pass(5_000)
    expect(outcomes).toEqual([OK])
  })

  test('for want of a session goes again once with a new one', async () => {
    const { send, clock, calls, opened } = await started([rejected({ sessionLost: true })])
    const { outcomes } = send(callOf('tools/call'))
    await clock.pass(0)
    opened[0]?.events.closed(lost('HTTP 404').with({ sessionLost: true }))
    await clock.pass(1_000)
    expect([calls.length, opened.length]).toEqual([2, 2])
    expect(outcomes).toEqual([OK])
  })

  test('with a bad request, a wrong credential or a wrong setting does not go again', async () => {
    for (const outcome of [
      rejected({}),
      {
        kind: 'rejected',
        error: new GatewayError('FORBIDDEN', 'x', { phase: 'rejected' }),
      },
    ] as const) {
      const { send, clock, calls } = await started([outcome])
      send(callOf('tools/call'))
      await clock.pass(60_000)
      expect(calls).toHaveLength(1)
    }
  })

  test('is retried within one budget for all', async () => {
    const made = scripted(Array<Outcome>(100).fill(refused()), {
      supervision: { ...SPEC.supervision, maxInFlight: 100 },
    })
    made.supervisor.boot()
    await made.clock.pass(0)
    const sent = Array.from({ length: 10 }, () => made.send(callOf('tools/call')))
    await made.clock.pass(10_000)
    expect(sent.every(({ outcomes }) => outcomes.length === 1)).toBe(true)
    expect(made.calls.length).toBeLessThan(20)
    expect(made.supervisor.budget.retrying).toBe(0)
  })
})

describe('a server that asks to be left alone', () => {
  const throttled = (retryAfterMs: number): Outcome => ({
    kind: 'rejected',
    error: new GatewayError('OVERLOADED', 'a: HTTP 429', {
      reason: 'HTTP 429',
      phase: 'rejected',
      retryAfterMs,
    }),
  })

  verifies(['F37'], 'is left alone by everybody, and asked again then', async () => {
    const { send, clock, calls } = await started([throttled(2_000)])
    const first = send(callOf('tools/call'))
    await clock.pass(100)
    const second = send(callOf('tools/call'))
    await clock.pass(1_800)
    expect(calls).toHaveLength(1)
    await clock.pass(1_000)
    expect([first.outcomes, second.outcomes]).toEqual([[OK], [OK]])
  })

  test('for longer than a call may wait is not asked; the answer says for how long', async () => {
    const { send, clock, supervisor } = await started([throttled(60_000)])
    const first = send({ ...callOf('tools/call'), timeoutMs: 30_000 })
    await clock.pass(100)
    const second = send(callOf('tools/call'))
    await clock.pass(0)
    expect(first.outcomes).toMatchObject([{ kind: 'rejected' }])
    expect(second.outcomes).toMatchObject([{ kind: 'never-sent', error: { code: 'OVERLOADED' } }])
    expect(supervisor.view()).toMatchObject({ state: 'ready', breaker: 'closed', health: 'healthy' })
  })

  test('is believed within bounds (LIMITS.retryAfterMinMs, LIMITS.retryAfterMaxMs)', async () => {
    for (const [asked, held] of [
      [0, LIMITS.retryAfterMinMs],
      [3e9, LIMITS.retryAfterMaxMs],
    ] as const) {
      const { send, clock, supervisor } = await started([throttled(asked)])
      const { dispatch } = send(callOf('tools/call'))
      await clock.pass(0)
      expect(supervisor.watch.closedUntil - clock.now()).toBe(held)
      dispatch.cancel('done')
    }
  })
})

describe('a server that is not there yet', () => {
  test('is waited for while it starts, up to a bound (LIMITS.holdHttpMs, LIMITS.holdStdioMs)', async () => {
    for (const [kind, hold] of [
      ['http', LIMITS.holdHttpMs],
      ['stdio', LIMITS.holdStdioMs],
    ] as const) {
      const { send, clock, behaviour, supervisor } = scripted([], {}, kind)
      behaviour.opening = () => new Promise(() => undefined)
      supervisor.boot()
      const { outcomes } = send(callOf('tools/call'))
      await clock.pass(hold - 1)
      expect(outcomes).toEqual([])
      await clock.pass(1)
      expect(outcomes).toMatchObject([{ kind: 'never-sent', error: { code: 'UPSTREAM_UNAVAILABLE' } }])
      expect(supervisor.waiting).toBe(0)
    }
  })

  verifies(['F68'], 'is waited for by so many calls (LIMITS.waitersPerUpstream), woken once', async () => {
    const { send, clock, behaviour, supervisor, opened } = scripted([], { lazy: true }, 'stdio')
    const gates: ((value: null) => void)[] = []
    behaviour.opening = () => new Promise<null>(resolve => gates.push(resolve))
    const sent = Array.from({ length: 100 }, () => send(callOf('tools/call')))
    await clock.pass(0)
    const early = sent.filter(({ outcomes }) => outcomes.length > 0)
    expect(early).toHaveLength(100 - LIMITS.waitersPerUpstream)
    expect(early[0]?.outcomes).toMatchObject([{ kind: 'never-sent', error: { code: 'OVERLOADED' } }])
    for (const open of gates) open(null)
    await clock.pass(10_000)
    expect(sent.filter(({ outcomes }) => outcomes[0]?.kind === 'answered')).toHaveLength(
      LIMITS.waitersPerUpstream,
    )
    expect([opened.length, supervisor.waiting, supervisor.inFlight]).toEqual([1, 0, 0])
  })

  test('and fails again is told to the one that woke it; the others were told at once', async () => {
    const { send, clock, behaviour, supervisor } = scripted([], {}, 'stdio')
    behaviour.open = () => lost('exited with code 1')
    supervisor.boot()
    await clock.pass(60_000)
    const answers = [send(callOf('tools/call')), send(callOf('tools/call'))]
    await clock.pass(0)
    for (const { outcomes } of answers) {
      expect(outcomes).toMatchObject([{ kind: 'never-sent', error: { kind: 'unavailable' } }])
      expect(JSON.stringify(outcomes[0])).toContain('exited with code 1')
    }
  })

  test('but wakes up slowly, with errors at first, is waited for', async () => {
    const { send, clock, behaviour, supervisor, opened } = scripted([], {
      lazy: true,
      supervision: { ...SPEC.supervision, wake: true },
    })
    await clock.pass(3_600_000)
    expect(opened).toHaveLength(0)
    behaviour.open = () => (clock.now() < 3_620_000 ? lost('HTTP 503 from POST /mcp') : null)
    const { outcomes } = send(callOf('tools/call'))
    await clock.pass(30_000)
    expect(outcomes).toEqual([OK])
    expect(supervisor.view().state).toBe('ready')
  })
})

test('a cancelled call keeps its place for a moment (LIMITS.cancelGraceMs), since the server may go on', async () => {
  const made = world('http', request => (request.context ? null : OK))
  made.supervisor.boot()
  await made.clock.pass(0)
  const request = {
    call: callOf('tools/call'),
    target: { kind: 'tool', name: 't' } as const,
    native: 't',
    entry: null,
  }
  const dispatch = new Dispatch(made, made.supervisor, request, () => expect.unreachable()).start()
  dispatch.cancel('enough')
  dispatch.cancel('twice')
  await made.clock.pass(LIMITS.cancelGraceMs - 1)
  expect(made.supervisor.inFlight).toBe(1)
  await made.clock.pass(1)
  expect(made.supervisor.inFlight).toBe(0)
})
