import { describe, expect, test } from 'vitest'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { type Bytes, GatewayError, type Outcome } from '../model/index.js'
import type { Host, HttpHandler, HttpPool, UpstreamRequest } from '../runtime/ports.js'
import type { UpstreamConnection } from './connection.js'
import { ListWatch } from './eras/open-modern.js'
import { NotificationStream } from './transports/notification-stream.js'

const FAILED: Outcome = {
  kind: 'unknown',
  error: new GatewayError('OUTCOME_UNKNOWN', 'reset', { phase: 'unknown' }),
}
const ALL_LISTS = 3

/** A subscription whose every request the test answers. */
function listening() {
  const clock = virtualClock()
  const asked: UpstreamRequest[] = []
  let cancelled = 0
  const told: Bytes[] = []
  const connection = {
    isOver: false,
    capabilities: { tools: { listChanged: true } },
    onOver: null as (() => void) | null,
    message: (bytes: Bytes) => told.push(bytes),
    request: (request: UpstreamRequest) => {
      asked.push(request)
      return {
        cancel: () => {
          cancelled += 1
          request.settle({ kind: 'cancelled' })
        },
      }
    },
  }
  new ListWatch(connection as unknown as UpstreamConnection, clock, {
    next: () => 0.5,
  } as Host['random']).open()
  return { clock, connection, asked, told, cancelled: () => cancelled }
}

/** A GET stream whose every request the test answers. */
function streaming() {
  const clock = virtualClock()
  const asked: HttpHandler[] = []
  const told: Bytes[] = []
  const pool: HttpPool = {
    request: (_request, handler) => {
      asked.push(handler)
      return { abort: () => undefined }
    },
    destroy: () => undefined,
  }
  const source = {
    path: () => '/mcp',
    headers: () => ({}),
    inSession: () => true,
    message: (bytes: Bytes) => told.push(bytes),
    tooLarge: () => undefined,
    sessionLost: () => undefined,
  }
  new NotificationStream({ clock, random: { next: () => 0.5 } } as unknown as Host, pool, source).open()
  const opened = (nth: number) => asked[nth]?.headers(200, { 'content-type': 'text/event-stream' })
  const broken = (nth: number) => asked[nth]?.fault({ phase: 'unknown', reason: 'reset', message: 'reset' })
  return { clock, asked, told, opened, broken }
}

describe('what changed while no subscription stood', () => {
  test('is asked for when it is taken up at last, though the first try failed', async () => {
    const { clock, asked, told } = listening()
    asked[0]?.settle(FAILED)
    await clock.pass(1_000)
    asked.at(-1)?.onAcknowledged?.(null)
    expect([asked.length, told.length]).toEqual([2, ALL_LISTS])
  })

  test('is not asked for when the first try was taken up at once', () => {
    const { asked, told } = listening()
    asked.at(-1)?.onAcknowledged?.(null)
    expect(told).toEqual([])
  })

  test('is asked for when the first try was taken up late: the lists may be older', async () => {
    const { clock, asked, told } = listening()
    await clock.pass(5_000)
    asked.at(-1)?.onAcknowledged?.(null)
    expect(told).toHaveLength(ALL_LISTS)
  })

  test('is still listened for after the server asked for rests, and not within them', async () => {
    const { clock, asked, told } = listening()
    const error = new GatewayError('OVERLOADED', 'HTTP 429', { phase: 'rejected', retryAfterMs: 30_000 })
    for (let times = 1; times <= 4; times += 1) {
      asked.at(-1)?.settle({ kind: 'rejected', error })
      await clock.pass(29_000)
      expect(asked).toHaveLength(times)
      await clock.pass(2_000)
      expect(asked).toHaveLength(times + 1)
    }
    asked.at(-1)?.onAcknowledged?.(null)
    expect(told).toHaveLength(ALL_LISTS)
  })

  test('is not listened for where the server refuses it three times in a row', async () => {
    const { clock, asked } = listening()
    const error = new GatewayError('UPSTREAM_UNAVAILABLE', 'HTTP 404', { phase: 'rejected' })
    const refuse = async () => {
      asked.at(-1)?.settle({ kind: 'rejected', error })
      const before = asked.length
      for (let i = 0; i < 600 && asked.length === before; i += 1) await clock.pass(100)
    }
    for (let times = 0; times < 2; times += 1) await refuse()
    asked.at(-1)?.onAcknowledged?.(null)
    for (let times = 0; times < 3; times += 1) await refuse()
    expect(asked).toHaveLength(5)
  })

  test('is of no interest any more when the connection is over: no timer is left', async () => {
    const { clock, connection, asked } = listening()
    asked[0]?.settle(FAILED)
    expect(clock.armed).toBe(1)
    connection.onOver?.()
    expect(clock.armed).toBe(0)
  })

  test('is known within a minute of the return of a server that was silent for long', async () => {
    const { clock, asked, cancelled } = listening()
    await clock.pass(600_000)
    for (let times = 0; times < 10; times += 1) {
      const before = asked.length
      await clock.pass(45_000)
      expect(asked.length).toBeGreaterThan(before)
    }
    expect(cancelled()).toBeGreaterThan(10)
  })
})

describe('what changed while the stream for notifications was down', () => {
  test('is asked for when it opens at last, though the first try failed', async () => {
    const { clock, told, opened, broken } = streaming()
    broken(0)
    await clock.pass(1_000)
    opened(1)
    expect(told).toHaveLength(ALL_LISTS + 1)
  })

  test('is not asked for within a rest that the server wanted', async () => {
    const { clock, asked } = streaming()
    asked[0]?.headers(429, { 'retry-after': '30' })
    asked[0]?.end()
    await clock.pass(29_000)
    expect(asked).toHaveLength(1)
    await clock.pass(2_000)
    expect(asked).toHaveLength(2)
  })

  test('is not asked for when the first try opened at once, and is when it opened late', async () => {
    const prompt = streaming()
    prompt.opened(0)
    expect(prompt.told).toEqual([])
    const late = streaming()
    await late.clock.pass(5_000)
    late.opened(0)
    expect(late.told).toHaveLength(ALL_LISTS + 1)
  })
})
