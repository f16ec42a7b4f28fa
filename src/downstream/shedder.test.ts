import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import type { Pressure } from '../core/shed/index.js'
import { LIMITS } from '../model/index.js'
import { NO_LOAD, Shedder, shed } from './shedder.js'

function open() {
  const time = manualHost()
  const gauge = { heap: 0.1, runs: false }
  const shedder = new Shedder(time.host, {
    start: () => {
      gauge.runs = true
    },
    stop: () => {
      gauge.runs = false
    },
    read: (): Pressure => ({ heap: gauge.heap, loopDelayMs: 0, fds: null }),
  })
  return { time, gauge, shedder }
}

describe('the shedder', () => {
  test('measures every LIMITS.loadSampleMs while it runs, and is silent while all is well', () => {
    const { time, gauge, shedder } = open()
    const told: number[] = []
    shedder.onPressure(level => told.push(level))
    shedder.start()
    shedder.start()
    expect([gauge.runs, time.timers]).toEqual([true, 1])
    time.advance(LIMITS.loadSampleMs)
    gauge.heap = 0.99
    time.advance(LIMITS.loadSampleMs - 1)
    expect(told).toEqual([])
    time.advance(1)
    gauge.heap = 0.1
    for (let i = 0; i < 14; i += 1) time.advance(LIMITS.loadSampleMs)
    expect(told).toEqual([3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0])
    shedder.stop()
    expect([gauge.runs, time.timers]).toEqual([false, 0])
  })

  test('refuses first what lasts, then every request, and a ping never', () => {
    const lasting = ['initialize', 'subscriptions/listen', 'resources/subscribe']
    const refused = (level: 0 | 1 | 2 | 3) =>
      [...lasting, 'tools/call', 'tools/list', 'ping'].filter(method => shed({ ...NO_LOAD, level }, method))
    expect(refused(0)).toEqual([])
    expect(refused(1)).toEqual(lasting)
    const all = [...lasting, 'tools/call', 'tools/list']
    expect([refused(2), refused(3)]).toEqual([all, all])
    expect(shed({ level: 2, retryAfterMs: () => 1_234 }, 'tools/call')).toMatchObject({
      rpcCode: 42901,
      kind: 'overloaded',
      phase: 'never-sent',
      details: { retryAfterMs: 1_234 },
    })
  })
})
