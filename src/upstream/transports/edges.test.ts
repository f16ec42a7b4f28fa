import { describe, expect, test } from 'vitest'
import { manualHost } from '../../../test/kit/scripted-core.js'
import { verifies } from '../../../test/kit/verifies.js'
import { LIMITS } from '../../model/index.js'
import { answeredId } from './oversized.js'
import { sessionIsLost } from './session-lost.js'
import { StderrTail } from './stderr-tail.js'
import { StdinQueue } from './stdin-queue.js'

describe('the id of a message that was too large', () => {
  const long = 'x'.repeat(300)
  const of = (text: string) => answeredId(Buffer.from(text).subarray(0, 200), Buffer.from(text).subarray(-64))

  test.each([
    [`{"jsonrpc":"2.0","id":7,"result":{"a":"${long}"}}`, 7],
    [`\ufeff { "id" : 7 , "jsonrpc" : "2.0" , "error" : {"code":1,"message":"${long}"}}`, 7],
    [`{"result":{"a":"${long}"},"jsonrpc":"2.0","id":7}`, 7],
    [`{"jsonrpc":"2.0","result":{"a":"${long}"},"id":7}\r`, 7],
    [`{"result":{"a":"${long}"},"id":7,"jsonrpc":"2.0"}`, 7],
  ])('is found where it stands', (text, id) => {
    expect(of(text)).toBe(id)
  })

  test.each([
    ['of the payload', `{"jsonrpc":"2.0","result":{"id":7,"a":"${long}"}}`],
    ['at the end of the payload', `{"jsonrpc":"2.0","result":{"a":"${long}","id":7}}`],
    ['of a request of the server', `{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"${long}"}}`],
    [
      'of such a request, behind its params',
      `{"params":{"a":"${long}"},"method":"m","jsonrpc":"2.0","id":7}`,
    ],
    ['in a string', `{"jsonrpc":"2.0","id":"7","result":"${long}"}`],
    ['inside a text', `{"jsonrpc":"2.0","result":"${long},\\"id\\":7}`],
    ['of no message', long],
  ])('is not taken from one %s', (_, text) => {
    expect(of(text)).toBeNull()
  })
})

verifies(
  ['J126', 'F41'],
  'a lost session is recognised by status and words, and nothing else is taken for one',
  () => {
    const rpc = (code: number, message: string) =>
      JSON.stringify({ jsonrpc: '2.0', id: 'server-error', error: { code, message } })
    const rows: [number, string, boolean][] = [
      [404, '', true],
      [404, rpc(-32600, 'Session not found'), true],
      [404, rpc(-32600, 'Not Found: Session has been terminated'), true],
      [404, rpc(-32001, 'Session not found'), true],
      [400, rpc(-32000, 'Bad Request: No valid session ID provided'), true],
      [400, rpc(-32600, 'Bad Request: Missing session ID'), true],
      [400, 'Invalid session', true],
      [400, '{"error":"session 3f2b-11 expired"}', true],
      [401, 'Session 3f2b not found', true],
      [410, 'session was terminated', true],
      [503, 'session unknown', true],
      [503, 'unknown session', true],
      [400, '', false],
      [400, rpc(-32600, 'Invalid Request'), false],
      [400, rpc(-32602, 'Unsupported protocol version'), false],
      [401, 'invalid_token', false],
      [503, 'Service Unavailable', false],
      [500, 'session not found', false],
      [403, 'session expired', false],
      [400, 'sessions are fine.\nuser unknown', false],
      [400, `${'x'.repeat(5_000)} session not found`, false],
    ]
    for (const [status, body, lost] of rows)
      expect(sessionIsLost(status, Buffer.from(body)), `${status} ${body.slice(0, 60)}`).toBe(lost)
  },
)

test('a hostile body is looked through in no time', () => {
  const before = performance.now()
  for (const body of ['session '.repeat(400), 'session id '.repeat(300), 'invalid '.repeat(400)])
    sessionIsLost(400, Buffer.from(body))
  expect(performance.now() - before).toBeLessThan(100)
})

describe('stderr', () => {
  const make = () => {
    const time = manualHost()
    const told: string[] = []
    return { time, told, tail: new StderrTail(time.host.clock, line => told.push(line)) }
  }

  test('passes LIMITS.stderrLinesPerSecond on, and says how many it dropped', () => {
    const { time, told, tail } = make()
    const lines = (from: number, to: number) => {
      for (let i = from; i <= to; i += 1) tail.push(Buffer.from(`line ${i}\n`))
    }
    lines(1, LIMITS.stderrLinesPerSecond)
    expect(told).toHaveLength(LIMITS.stderrLinesPerSecond)
    lines(101, 5_000)
    expect(told).toHaveLength(LIMITS.stderrLinesPerSecond)
    expect(tail.lastLines()).toBe('line 4996 | line 4997 | line 4998 | line 4999 | line 5000')
    time.advance(1_000)
    lines(5_001, 5_001)
    expect(told.slice(LIMITS.stderrLinesPerSecond)).toEqual([
      '… 4900 lines of stderr were dropped: more than 100 a second',
      'line 5001',
    ])
    expect(tail.lastLines()).toMatch(/line 5000 \| line 5001$/)
  })

  test('is drained at any rate, in bounded memory, and its last words are kept', () => {
    const { time, told, tail } = make()
    const flood = Buffer.from('y\n'.repeat(32 * 1024))
    for (let second = 0; second < 3; second += 1) {
      for (let i = 0; i < 200; i += 1) tail.push(flood)
      time.advance(1_000)
    }
    tail.push(Buffer.from('fatal: out of memory\n'))
    expect(told.length).toBeLessThanOrEqual(4 * (LIMITS.stderrLinesPerSecond + 1))
    expect(tail.lastLines()).toMatch(/fatal: out of memory$/)
    expect(LIMITS.stderrRingBytes).toBe(64 * 1024)
  })
})

describe('the input of a child', () => {
  /** A pipe that takes what the test lets it take. */
  function pipe() {
    const time = manualHost()
    const refused: number[] = []
    const state = { stuck: 0, full: false, queuedBytes: 0, written: [] as string[] }
    const child = {
      get queuedBytes() {
        return state.queuedBytes
      },
      write: (bytes: Uint8Array) => {
        state.written.push(Buffer.from(bytes).toString())
        return !state.full
      },
    }
    const events = {
      refused: (id: number) => void refused.push(id),
      stuck: () => {
        state.stuck += 1
      },
    }
    return { time, state, refused, queue: new StdinQueue(child as never, time.host.clock, events) }
  }

  test('is stuck when nothing drains for LIMITS.stdinStuckMs, and what waits is known to be unsent', () => {
    const { time, state, queue } = pipe()
    state.full = true
    state.queuedBytes = 500
    queue.push(Buffer.from('a'), 1)
    queue.push(Buffer.from('b'), 2)
    time.advance(LIMITS.stdinStuckMs - 1)
    expect(state.stuck).toBe(0)
    time.advance(1)
    expect(state.stuck).toBe(1)
    expect(queue.takeUnsent()).toEqual([2])
  })

  test('is not stuck while it drains now and then, which costs one timer and not one a message', () => {
    const { time, state, queue } = pipe()
    state.full = true
    state.queuedBytes = 500
    for (let i = 0; i < 100; i += 1) {
      queue.push(Buffer.from('x'), i)
      time.advance(1_000)
      queue.drained()
      expect(time.timers).toBeLessThanOrEqual(1)
    }
    expect(state.stuck).toBe(0)
    time.advance(LIMITS.stdinStuckMs)
    queue.stop()
    expect(time.timers).toBe(0)
  })

  test('that broke before it took a byte of a line leaves the line unsent, however large; of an older one nobody knows', () => {
    for (const bytes of [8, 100_000]) {
      const { queue, state } = pipe()
      queue.push(Buffer.from('older'), 1)
      queue.drained()
      state.full = true
      queue.push(Buffer.alloc(bytes), 2)
      queue.push(Buffer.from('waiting'), 3)
      queue.drained()
      // Also where its end is told before the broken pipe.
      if (bytes > 8) queue.broke()
      expect(queue.takeUnsent()).toEqual([2, 3])
    }
    const queued = pipe()
    queued.state.full = true
    queued.state.queuedBytes = 7
    queued.queue.push(Buffer.from('in part'), 6)
    queued.queue.broke()
    expect(queued.queue.takeUnsent()).toEqual([])
  })
})
