import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { verifies } from '../../test/kit/verifies.js'
import { type CallContext, type GatewayError, LIMITS, type Outcome } from '../model/index.js'
import type { UpstreamRequest } from '../runtime/ports.js'
import { UpstreamConnection } from './connection.js'
import { legacyCodec } from './eras/legacy.js'
import { modernCodec } from './eras/modern.js'
import type { OutgoingMessage, Transport, TransportFault } from './transport.js'

interface Options {
  readonly kind?: Transport['kind']
  readonly modern?: boolean
}

/** A connection over a transport that the test plays, on a clock that it sets. */
function connect({ kind = 'stdio', modern = false }: Options = {}) {
  const time = manualHost()
  const sent: { id?: number; method: string; params: Record<string, unknown> }[] = []
  const aborted: number[] = []
  const violations: string[] = []
  const closed: GatewayError[] = []
  let connection: UpstreamConnection | null = null
  const link: Transport = {
    kind,
    pid: null,
    start: () => Promise.resolve(),
    send: ({ bytes }: OutgoingMessage) => void sent.push(JSON.parse(Buffer.from(bytes).toString())),
    abort: id => void aborted.push(id),
    useProtocolVersion: () => undefined,
    openNotificationStream: () => undefined,
    fail: fault => connection?.closed(fault),
    close: () => Promise.resolve(),
    destroy: () => undefined,
  }
  const codec = modern
    ? modernCodec({
        version: '2026-07-28',
        clientInfo: { name: 't', version: '1' },
        overHttp: kind === 'http',
      })
    : legacyCodec
  const events = {
    closed: (error: GatewayError) => void closed.push(error),
    notification: () => undefined,
    violation: (what: string) => void violations.push(what),
    stderr: () => undefined,
  }
  connection = new UpstreamConnection(
    { upstream: 'a', clock: time.host.clock, events, hasCredentials: false },
    link,
    codec,
  )
  const made = connection
  const say = (value: unknown, source: number | null = null) =>
    made.message(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), source)
  const answer = (id: unknown, source: number | null = null) =>
    say({ jsonrpc: '2.0', id, result: {} }, source)
  return { time, advance: time.advance, connection: made, sent, aborted, violations, closed, say, answer }
}

type Made = ReturnType<typeof connect>

function ask({ connection, sent }: Made, context: Partial<CallContext> | null = {}) {
  const outcomes: Outcome[] = []
  const request: UpstreamRequest = {
    method: 'tools/call',
    params: null,
    context: context && ({ era: 'legacy', capabilities: Buffer.from('{}'), ...context } as CallContext),
    settle: outcome => outcomes.push(outcome),
  }
  const running = connection.request(request)
  return { id: sent.at(-1)?.id as number, running, outcomes }
}

const errorOf = (outcome: Outcome | undefined) => (outcome && 'error' in outcome ? outcome.error : null)
const reasonOf = (error: GatewayError | null | undefined) => error?.details.reason

describe('answers that do not fit', () => {
  verifies(['J133'], 'a success of the wrong shape costs its caller an answer, and is counted', () => {
    const bad = [
      (id: number) => ({ jsonrpc: '2.0', id }),
      (id: number) => ({ jsonrpc: '2.0', id, result: {}, error: { code: 1, message: 'x' } }),
      (id: number) => ({ id, result: {} }),
    ]
    for (const shape of bad) {
      const made = connect()
      const call = ask(made)
      made.say(shape(call.id))
      expect(errorOf(call.outcomes[0])).toMatchObject({ code: 'PROTOCOL_VIOLATION', phase: 'unknown' })
      expect(made.violations).toHaveLength(1)
    }
    const http = connect({ kind: 'http' })
    const [first, second] = [ask(http), ask(http)]
    http.say({ hello: 'world' }, first.id)
    http.answer(77, second.id)
    http.connection.ended(second.id, null)
    expect([first, second].map(({ outcomes }) => errorOf(outcomes[0])?.code)).toEqual([
      'PROTOCOL_VIOLATION',
      'PROTOCOL_VIOLATION',
    ])
    expect(http.violations).toHaveLength(2)
    const third = ask(http)
    http.answer(77, third.id)
    http.answer(third.id, third.id)
    expect(third.outcomes.map(({ kind }) => kind)).toEqual(['answered'])
  })

  test('have an unknown id, come twice, or name no request: nobody gets them, and each is counted', () => {
    const made = connect()
    const call = ask(made)
    made.answer(99)
    made.answer(String(call.id))
    made.say({ jsonrpc: '2.0', id: null, error: { code: -32700, message: 'what?' } })
    expect(call.outcomes).toEqual([])
    made.answer(call.id)
    made.answer(call.id)
    expect(call.outcomes.map(({ kind }) => kind)).toEqual(['answered'])
    expect(made.violations).toEqual([
      'an answer with an unknown id: 99',
      `an answer with an unknown id: "${call.id}"`,
      expect.stringMatching(/^an answer with an unknown id: null, an error: .*what\?/),
      `an answer with an unknown id: ${call.id}`,
    ])
  })

  test(`end a connection at LIMITS.violationsPerMinute, and not when they are spread over more`, () => {
    const made = connect()
    for (let i = 0; i < 30; i += 1) {
      made.answer(1_000 + i)
      made.advance(7_000)
    }
    expect(made.closed).toEqual([])
    made.advance(60_000)
    const call = ask(made)
    for (let i = 0; i < LIMITS.violationsPerMinute; i += 1) made.answer(2_000 + i)
    expect(made.closed.map(reasonOf)).toEqual([
      'broke the protocol 10 times in a minute: an answer with an unknown id: 2009',
    ])
    expect(errorOf(call.outcomes[0])).toMatchObject({ code: 'PROTOCOL_VIOLATION', phase: 'unknown' })
    expect(made.time.timers).toBe(0)
  })

  test('over HTTP let the calls under way end first', () => {
    const made = connect({ kind: 'http' })
    const call = ask(made)
    for (let i = 0; i < 20; i += 1) made.answer(1_000 + i)
    expect(made.violations).toHaveLength(LIMITS.violationsPerMinute)
    expect(made.closed).toEqual([])
    made.answer(call.id, call.id)
    expect(call.outcomes[0]?.kind).toBe('answered')
    made.advance(1_000)
    expect(made.closed).toHaveLength(1)
    const slow = connect({ kind: 'http' })
    ask(slow)
    for (let i = 0; i < 20; i += 1) slow.answer(1_000 + i)
    for (let i = 0; i < 60; i += 1) slow.advance(1_000)
    expect(slow.closed).toHaveLength(1)
  })
})

describe('what is no message', () => {
  test('is told in part, with how much was held back', () => {
    const made = connect()
    for (let i = 0; i < 50; i += 1) made.connection.noise(`line ${i}`, 'garbage')
    expect(made.violations).toEqual(['line 0', 'line 1', 'line 2'])
    made.advance(10_000)
    made.connection.noise('later', 'garbage')
    expect(made.violations.at(-1)).toBe('later (and 47 more like it before)')
    expect(made.closed).toEqual([])
  })

  test('may come fast as a banner, but not after the first message (LIMITS.garbageLinesPerSecond)', () => {
    const made = connect()
    for (let i = 0; i < 300; i += 1) made.connection.noise('banner', 'garbage')
    made.say({ jsonrpc: '2.0', method: 'notifications/x' })
    made.advance(1_000)
    for (let i = 0; i < LIMITS.garbageLinesPerSecond; i += 1) made.connection.noise('log', 'garbage')
    expect(made.closed).toEqual([])
    made.connection.noise('log', 'garbage')
    expect(made.closed.map(reasonOf)).toEqual([
      'printed more than 100 lines in a second that are no messages: log',
    ])
  })

  test('ends the connection when nothing else comes any more (LIMITS.garbageLinesInARow)', () => {
    const made = connect()
    for (let i = 1; i < LIMITS.garbageLinesInARow; i += 1) made.connection.noise('x', 'garbage')
    expect(made.closed).toEqual([])
    made.say({ jsonrpc: '2.0', method: 'notifications/x' })
    made.advance(1_000)
    for (let i = 0; i < LIMITS.garbageLinesInARow; i += 1) {
      made.connection.noise('x', 'garbage')
      made.advance(50)
    }
    expect(made.closed.map(reasonOf)).toEqual(['printed 1000 lines in a row that are no messages: x'])
  })

  test('includes logs in JSON and in brackets on stdout', () => {
    const made = connect()
    for (let i = 0; i < 50; i += 1) {
      made.say('{"level":30,"msg":"listening"}')
      made.say('[INFO] still here')
      made.advance(100)
    }
    expect(made.closed).toEqual([])
    expect(made.violations[0]).toContain('listening')
  })
})

describe('cancelled requests', () => {
  const toil = (made: Made, calls: readonly { readonly id: number }[]) => {
    for (const { id } of calls)
      made.say({
        jsonrpc: '2.0',
        method: 'notifications/progress',
        params: { progressToken: id, progress: 1 },
      })
  }
  const pass = (made: Made, seconds: number) => {
    for (let i = 0; i < seconds; i += 1) made.advance(1_000)
  }

  test('count as stuck when they show progress after LIMITS.cancelGraceMs, until they end or fall silent', () => {
    const made = connect()
    const calls = [ask(made), ask(made), ask(made), ask(made)]
    const silent = ask(made)
    const own = ask(made, null)
    for (const { running } of [...calls, silent, own]) running.cancel('gone')
    made.advance(LIMITS.cancelGraceMs - 1)
    toil(made, calls)
    expect([made.connection.inFlight, made.connection.stuck]).toEqual([0, 0])
    made.advance(1)
    toil(made, calls)
    expect([made.connection.inFlight, made.connection.stuck]).toEqual([0, 4])
    made.answer(calls[0]?.id)
    toil(made, calls.slice(0, 3))
    expect(made.connection.stuck).toBe(3)
    pass(made, 6)
    toil(made, calls.slice(1, 3))
    pass(made, 4)
    expect(made.connection.stuck).toBe(2)
    expect(made.violations).toEqual([])
    for (let at = 0; at <= LIMITS.tombstoneMs; at += 5_000) {
      toil(made, calls.slice(1, 2))
      pass(made, 5)
    }
    expect([made.connection.stuck, made.time.timers]).toEqual([1, 0])
  })

  test('have late answers swallowed for LIMITS.tombstoneMs', () => {
    const made = connect()
    const call = ask(made)
    call.running.cancel('gone')
    made.advance(LIMITS.tombstoneMs - 1)
    made.answer(call.id)
    made.answer(call.id)
    expect(made.violations).toEqual([])
    made.advance(1)
    made.answer(call.id)
    expect(made.violations).toEqual([`an answer with an unknown id: ${call.id}`])
    expect(call.outcomes.map(({ kind }) => kind)).not.toContain('answered')
  })

  test('are remembered up to LIMITS.tombstones of them, the oldest forgotten first', () => {
    const made = connect()
    const first = ask(made)
    first.running.cancel('storm')
    let last = first
    for (let i = 0; i < LIMITS.tombstones; i += 1) {
      last = ask(made)
      last.running.cancel('storm')
    }
    made.answer(last.id)
    expect(made.violations).toEqual([])
    made.answer(first.id)
    expect(made.violations).toHaveLength(1)
  })

  const cancelMany = (made: Made, count: number = LIMITS.stuckRequests) => {
    const calls = Array.from({ length: count }, () => ask(made))
    for (const { running } of calls) running.cancel('timeout')
    return calls
  }

  test('of which LIMITS.stuckRequests go on make a child end, once it is idle or after a minute', () => {
    const made = connect()
    const busy = ask(made)
    const calls = cancelMany(made, LIMITS.stuckRequests + 1)
    pass(made, 5)
    made.answer(calls[0]?.id)
    toil(made, calls)
    pass(made, 8)
    expect(made.closed).toEqual([])
    made.answer(busy.id)
    pass(made, 1)
    expect(made.closed.map(reasonOf)).toEqual(['goes on with 8 requests that were cancelled'])
    const occupied = connect()
    ask(occupied)
    const many = cancelMany(occupied)
    pass(occupied, 5)
    toil(occupied, many)
    pass(occupied, 59)
    expect(occupied.closed).toEqual([])
    pass(occupied, 1)
    expect(occupied.closed).toHaveLength(1)
  })

  test('end nothing when they are silent, few, one after the other, or on a stream that is no process', () => {
    const silent = connect()
    cancelMany(silent, 1_000)
    pass(silent, 30)
    const prompt = connect()
    toil(prompt, cancelMany(prompt, 1_000))
    pass(prompt, 30)
    const few = connect()
    const some = cancelMany(few, LIMITS.stuckRequests - 1)
    pass(few, 10)
    toil(few, some)
    const slow = connect()
    for (let i = 0; i < 20; i += 1) {
      const { id, running } = ask(slow)
      running.cancel('timeout')
      pass(slow, 6)
      toil(slow, [{ id }])
      pass(slow, 4)
    }
    const sse = connect({ kind: 'sse' })
    const several = cancelMany(sse)
    pass(sse, 10)
    toil(sse, several)
    expect([silent, prompt, few, slow, sse].map(({ closed }) => closed.length)).toEqual([0, 0, 0, 0, 0])
    expect([silent, few, sse].map(({ connection }) => connection.stuck)).toEqual([0, 7, 8])
  })

  test('over HTTP can be answered no more: none is ever stuck, and none costs a timer', () => {
    for (const modern of [false, true]) {
      const made = connect({ kind: 'http', modern })
      cancelMany(made)
      expect([made.connection.stuck, made.time.timers]).toEqual([0, 0])
      expect(made.aborted).toHaveLength(LIMITS.stuckRequests)
    }
  })
})

describe('a flood', () => {
  const progress = (made: Made, id: number, n: number) =>
    made.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: id, progress: n } })
  const listen = () => {
    const told: number[] = []
    const onProgress = (params: Uint8Array) =>
      void told.push(JSON.parse(Buffer.from(params).toString()).progress)
    return { told, onProgress }
  }

  test('of progress passes LIMITS.notificationsPerRequest a second and keeps the last, which comes before the answer', () => {
    const made = connect()
    const { told, onProgress } = listen()
    const call = ask(made, { onProgress })
    for (let n = 1; n <= 10_000; n += 1) progress(made, call.id, n)
    const limit = LIMITS.notificationsPerRequest
    expect(told).toEqual(Array.from({ length: limit }, (_, i) => i + 1))
    expect(made.time.timers).toBe(1)
    made.advance(1_000)
    expect(told.slice(limit)).toEqual([10_000])
    for (let n = 20_001; n <= 20_100; n += 1) progress(made, call.id, n)
    made.answer(call.id)
    expect(told.at(-1)).toBe(20_100)
    expect(told.length).toBeLessThanOrEqual(2 * limit + 1)
    const after = told.length
    made.advance(5_000)
    expect([told.length, made.time.timers]).toEqual([after, 0])
  })

  test('over many requests passes LIMITS.notificationsPerConnection a second, and nobody loses the last one', () => {
    const made = connect()
    const all = Array.from({ length: 250 }, () => listen())
    const ids = all.map(({ onProgress }) => ask(made, { onProgress }).id)
    for (let n = 1; n <= 5; n += 1) for (const id of ids) progress(made, id, n)
    const count = () => all.reduce((sum, { told }) => sum + told.length, 0)
    expect(count()).toBe(LIMITS.notificationsPerConnection)
    for (let i = 0; i < 4; i += 1) {
      const before = count()
      made.advance(1_000)
      expect(count() - before).toBeLessThanOrEqual(LIMITS.notificationsPerConnection)
    }
    expect(all.every(({ told }) => told.at(-1) === 5)).toBe(true)
  })

  test('of logs is bounded likewise, and progress for an unknown token is dropped', () => {
    const made = connect()
    const told: string[] = []
    ask(made, { logLevel: 'debug', onLog: params => void told.push(Buffer.from(params).toString()) })
    for (let n = 1; n <= 1_000; n += 1)
      made.say({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: n } })
    progress(made, 4_711, 1)
    expect(told).toHaveLength(LIMITS.notificationsPerRequest)
    made.advance(1_000)
    expect(told.at(-1)).toContain('1000')
    expect(made.violations).toEqual([])
  })

  test('costs a normal call no timer', () => {
    const made = connect()
    const { told, onProgress } = listen()
    const call = ask(made, { onProgress })
    for (let n = 1; n <= 5; n += 1) progress(made, call.id, n)
    expect([told.length, made.time.timers]).toEqual([5, 0])
  })
})

describe('an error of the transport', () => {
  const fault = (status: number, headers: Record<string, string> = {}, body = ''): TransportFault => ({
    phase: status >= 500 ? 'unknown' : 'rejected',
    reason: status === 401 ? 'unauthorized' : 'http-status',
    message: `HTTP ${status} from POST /mcp`,
    status,
    headers,
    body: Buffer.from(body),
  })
  const settled = (given: TransportFault) => {
    const made = connect({ kind: 'http' })
    const call = ask(made)
    made.connection.ended(call.id, given)
    return { outcome: call.outcomes[0] as Outcome, made }
  }

  verifies(
    ['F40', 'J124'],
    'with 403 is a refusal of that call, with the scope that is wanted, and no sign-in',
    () => {
      const challenge = 'Bearer error="insufficient_scope", scope="files:write", realm="x"'
      const { outcome, made } = settled(fault(403, { 'www-authenticate': challenge }))
      expect(errorOf(outcome)).toMatchObject({ code: 'FORBIDDEN', kind: 'denied', phase: 'rejected' })
      expect(reasonOf(errorOf(outcome))).toBe(
        'HTTP 403 from POST /mcp: insufficient_scope, needs the scope files:write',
      )
      expect([made.closed, made.violations]).toEqual([[], []])
    },
  )

  verifies(
    ['J120', 'J121'],
    'with Retry-After says when to come back, also where the body holds a JSON-RPC error',
    () => {
      const body = '{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"slow down"}}'
      const busy = settled(fault(429, { 'retry-after': '2' }, body)).outcome
      expect(errorOf(busy)).toMatchObject({
        code: 'OVERLOADED',
        phase: 'rejected',
        details: { retryAfterMs: 2_000 },
      })
      const down = settled(fault(503, { 'retry-after': '30' }, body)).outcome
      expect(errorOf(down)).toMatchObject({ code: 'OUTCOME_UNKNOWN', details: { retryAfterMs: 30_000 } })
      expect(settled(fault(503, {}, body)).outcome.kind).toBe('answered')
      expect(errorOf(settled(fault(429, {}, body)).outcome)?.details.retryAfterMs).toBeUndefined()
    },
  )

  verifies(
    ['J126'],
    'for a lost session under a status of success ends the session, and no other error does',
    () => {
      const lost = ['Session terminated', 'Session not found', 'Not Found: Session has been terminated']
      const other = [
        'Session cookie missing',
        'no session not found here',
        'Invalid params: session not found in table',
      ]
      const error = (message: string, code = -32600) => {
        const made = connect({ kind: 'http' })
        const call = ask(made)
        made.say({ jsonrpc: '2.0', id: call.id, error: { code, message } }, call.id)
        return { made, kind: call.outcomes[0]?.kind }
      }
      for (const message of lost) {
        const { made, kind } = error(message)
        expect([kind, made.closed.length], message).toEqual(['rejected', 1])
        expect(error(message, -32602).kind).toBe('answered')
      }
      for (const message of other) expect(error(message).kind, message).toBe('answered')
    },
  )

  verifies(['J129', 'J130'], 'that is no MCP counts as a breach, and its call may have run', () => {
    const message = 'POST /mcp answered text/html instead of MCP: <p>'
    const { outcome, made } = settled({ phase: 'unknown', reason: 'not-mcp', message })
    expect(errorOf(outcome)).toMatchObject({ code: 'PROTOCOL_VIOLATION', kind: 'outcome_unknown' })
    expect(made.violations).toEqual([message])
  })
})
