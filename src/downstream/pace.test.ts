import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { LIMITS } from '../model/index.js'
import { Lane, Pace } from './pace.js'

function open() {
  const time = manualHost()
  const pace = new Pace(time.host.clock)
  const lane = (upstream = 'up') => {
    const sent: string[] = []
    const made = new Lane(pace, upstream, params => sent.push(Buffer.from(params).toString()))
    return { sent, put: (text: unknown) => made.put(Buffer.from(String(text))), made }
  }
  return { time, pace, lane }
}

/** The largest number of times within any second. */
function busiestSecond(times: readonly number[]): number {
  return Math.max(...times.map(from => times.filter(at => at >= from && at < from + 1_000).length))
}

describe('the notes of one request', () => {
  test('go at once while they are few', () => {
    const { lane, time } = open()
    const { put, sent } = lane()
    for (let i = 0; i < LIMITS.notesPerRequest; i += 1) put(i)
    expect([sent.length, time.timers]).toEqual([LIMITS.notesPerRequest, 0])
  })

  test('are never more than LIMITS.notesPerRequest in any second, and the last one always arrives', () => {
    const { time, pace } = open()
    const times: number[] = []
    let last = ''
    const lane = new Lane(pace, 'up', params => {
      times.push(time.host.clock.now())
      last = Buffer.from(params).toString()
    })
    for (let i = 0; i < 20_000; i += 1) {
      lane.put(Buffer.from(String(i)))
      if (i % 4 === 3) time.advance(1)
    }
    time.advance(1_000)
    expect(last).toBe('19999')
    expect(busiestSecond(times)).toBe(LIMITS.notesPerRequest)
    expect(times.length).toBeGreaterThan(40)
    expect(time.timers).toBe(0)
  })

  test('that are held go before the answer, and nowhere when there is none', () => {
    const { lane, time } = open()
    for (const [end, last] of [
      ['flush', '99'],
      ['drop', '9'],
    ] as const) {
      const { put, sent, made } = lane(end)
      for (let i = 0; i < 100; i += 1) put(i)
      made[end]()
      expect(sent.at(-1)).toBe(last)
      time.advance(5_000)
      expect(sent.at(-1)).toBe(last)
    }
  })
})

describe('the notes of one server', () => {
  test('are never more than LIMITS.notesPerUpstream in any second, whoever they are for', () => {
    const { time, pace } = open()
    const times: number[] = []
    const lanes = Array.from(
      { length: 50 },
      () => new Lane(pace, 'up', () => times.push(time.host.clock.now())),
    )
    for (let ms = 0; ms < 3_000; ms += 10) {
      for (const lane of lanes) lane.put(Buffer.from(String(ms)))
      time.advance(10)
    }
    expect(busiestSecond(times)).toBe(LIMITS.notesPerUpstream)
  })

  test('do not use up what another server may send', () => {
    const { lane } = open()
    for (let i = 0; i < 50; i += 1) for (let n = 0; n < 10; n += 1) lane('noisy').put(n)
    const { put, sent } = lane('quiet')
    put('here')
    expect(sent).toEqual(['here'])
  })

  test('reach every request in the end', () => {
    const { lane, time } = open()
    const lanes = Array.from({ length: 250 }, () => lane())
    for (const { put } of lanes) put('only')
    for (let second = 0; second < 3; second += 1) time.advance(1_000)
    expect(lanes.every(({ sent }) => sent.join() === 'only')).toBe(true)
  })
})
