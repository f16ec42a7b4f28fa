import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { manualHost } from '../../../test/kit/scripted-core.js'
import { LIMITS } from '../../model/index.js'
import { AnswerShelf } from './answer-shelf.js'
import { BUFFER_BOUNDS, ClientBuffers } from './client-buffers.js'
import { Outflow, watchRest } from './outflow.js'

const MB = 1024 * 1024

/** A client that takes one write at a time, when it is told to. */
class Reader extends Writable {
  readonly taken: Buffer[] = []
  #waiting: (() => void) | null = null
  #reads = false

  constructor() {
    super({ highWaterMark: 16 * 1024 })
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.taken.push(chunk)
    if (this.#reads) done()
    else this.#waiting = done
  }

  /** Takes the write that waits. */
  async take(): Promise<void> {
    const done = this.#waiting
    this.#waiting = null
    done?.()
    await new Promise(resolve => setImmediate(resolve))
  }

  async readAll(): Promise<void> {
    this.#reads = true
    for (let left = 1; left > 0; left = this.writableLength) await this.take()
  }

  get text(): string {
    return Buffer.concat(this.taken).toString()
  }
}

function open(bounds = BUFFER_BOUNDS) {
  const time = manualHost()
  const buffers = new ClientBuffers(time.host.clock, bounds)
  const client = () => {
    const reader = new Reader()
    const events: string[] = []
    const out = new Outflow(reader, buffers, {
      drained: () => events.push('drained'),
      cut: () => events.push('cut'),
    })
    return { reader, out, events }
  }
  return { time, buffers, client, ...client() }
}

const text = (value: string) => Buffer.from(value)

describe('a client that reads', () => {
  test('is written to at once, and never counted or timed', async () => {
    const { reader, out, buffers, time } = open()
    await reader.readAll()
    for (let i = 0; i < 1_000; i += 1) out.write(text(`${i} `), null)
    out.answer(text('end'))
    out.end()
    await reader.readAll()
    expect(reader.text.endsWith('998 999 end')).toBe(true)
    expect([buffers.bytes, buffers.count, time.timers, reader.writableEnded]).toEqual([0, 0, 0, true])
  })

  test('gets a large answer whole, in pieces', async () => {
    const { reader, out, buffers } = open()
    const answer = Buffer.alloc(3 * MB + 17, 'abcdefg')
    out.answer(answer)
    out.end()
    await reader.readAll()
    await expect.poll(() => reader.writableFinished).toBe(true)
    expect(Buffer.concat(reader.taken).equals(answer)).toBe(true)
    expect([buffers.bytes, buffers.count]).toEqual([0, 0])
  })
})

describe('a client that does not read', () => {
  test('costs at most LIMITS.clientBufferBytes and its answer', () => {
    const { out, buffers } = open()
    const part = Buffer.alloc(100_000)
    let refused = 0
    for (let i = 0; i < 2_000; i += 1) if (!out.write(part, null)) refused += 1
    expect(buffers.bytes).toBeLessThanOrEqual(LIMITS.clientBufferBytes)
    expect(buffers.bytes).toBeGreaterThan(LIMITS.clientBufferBytes - part.length)
    expect(refused).toBeGreaterThan(1_900)
    out.answer(Buffer.alloc(8 * MB))
    expect(buffers.bytes).toBeLessThanOrEqual(LIMITS.clientBufferBytes + 8 * MB)
  })

  test('is later told the last of what is the same, in its first place', async () => {
    const { reader, out, buffers } = open()
    out.write(Buffer.alloc(100_000, '.'), null)
    for (let i = 0; i < 1_000; i += 1) {
      out.write(text(`progress ${i};`), 'progress')
      out.write(text(`changed ${i};`), 'tools')
    }
    expect(buffers.bytes).toBeLessThan(101_000)
    out.answer(text('answer'))
    await reader.readAll()
    expect(reader.text.replace(/^\.+/, '')).toBe('progress 999;changed 999;answer')
  })

  test('is cut off after LIMITS.clientStalledMs without progress, and not a moment sooner', async () => {
    const { reader, out, events, time, buffers } = open()
    out.write(Buffer.alloc(300_000), null)
    time.advance(LIMITS.clientStalledMs - 1)
    expect(events).toEqual([])
    await reader.take()
    time.advance(1)
    time.advance(LIMITS.clientStalledMs - 2)
    expect(events).toEqual([])
    time.advance(1)
    expect(events).toEqual(['cut'])
    expect([reader.destroyed, buffers.bytes, buffers.count, time.timers]).toEqual([true, 0, 0, 0])
    expect(out.write(text('more'), null)).toBe(false)
  })

  test('is not cut off for a time in which we were stopped ourselves', () => {
    const { out, events, time } = open()
    out.write(Buffer.alloc(300_000), null)
    time.advance(LIMITS.clientStalledMs + 60_000)
    expect(events).toEqual([])
    time.advance(LIMITS.clientStalledMs)
    expect(events).toEqual(['cut'])
  })

  test('is found by the rest of a small answer, too', async () => {
    const { reader, time, buffers } = open()
    reader.end(Buffer.alloc(5_000))
    watchRest(reader, buffers)
    expect(buffers.bytes).toBe(5_000)
    time.advance(LIMITS.clientStalledMs)
    expect([reader.destroyed, buffers.bytes]).toEqual([true, 0])
  })

  test('that goes on reading is let go', async () => {
    const { reader, out, time, buffers, events } = open()
    out.write(text('small'), null)
    expect(out.isClear()).toBe(false)
    expect(buffers.count).toBe(1)
    await reader.readAll()
    time.advance(LIMITS.clientStalledMs)
    expect([buffers.count, buffers.bytes, out.isClear(), events]).toEqual([0, 0, true, []])
  })
})

describe('all clients together', () => {
  test('may have so much waiting; past that the largest is cut off first (LIMITS.clientBuffersBytes)', () => {
    const { client, buffers } = open({ ...BUFFER_BOUNDS, totalBytes: 10 * MB })
    const clients = [1, 4, 2, 2].map(size => {
      const one = client()
      one.out.answer(Buffer.alloc(size * MB))
      return one
    })
    const cut = () => clients.map(({ events }) => events.includes('cut'))
    expect(cut()).toEqual([false, false, false, false])
    clients[0]?.out.answer(Buffer.alloc(2 * MB))
    expect(cut()).toEqual([false, true, false, false])
    expect(buffers.bytes).toBe(7 * MB)
    clients[3]?.out.answer(Buffer.alloc(20 * MB))
    expect(cut()).toEqual([false, true, false, true])
    expect(LIMITS.clientBuffersBytes).toBe(256 * MB)
  })
})

describe('the answers that are kept for a session', () => {
  const message = (bytes: number) => Buffer.alloc(bytes)
  const answer = { resume: () => undefined }

  test('are found by their stream for LIMITS.detachedMs', () => {
    const { buffers, time } = open()
    const shelf = new AnswerShelf(buffers, true)
    const [one, two] = [shelf.open(answer), shelf.open(answer)]
    expect(shelf.unfinished(one)).toBe(answer)
    shelf.close(one, { event: 3, message: message(10) })
    time.advance(LIMITS.detachedMs / 2)
    shelf.close(two, { event: 1, message: message(20) })
    expect([shelf.unfinished(one), shelf.kept(one)?.event, buffers.bytes]).toEqual([undefined, 3, 30])
    time.advance(LIMITS.detachedMs / 2)
    expect([shelf.kept(one), shelf.kept(two)?.event, buffers.bytes]).toEqual([undefined, 1, 20])
    time.advance(LIMITS.detachedMs / 2)
    expect([shelf.kept(two), buffers.bytes, buffers.count, time.timers]).toEqual([undefined, 0, 0, 0])
  })

  test('are LIMITS.keptAnswerBytes together, the oldest go first, and a larger one is not kept', () => {
    const { buffers } = open()
    const shelf = new AnswerShelf(buffers, true)
    const keep = (bytes: number) => {
      const stream = shelf.open(answer)
      shelf.close(stream, { event: 1, message: message(bytes) })
      return stream
    }
    const [first, second] = [keep(LIMITS.keptAnswerBytes / 2), keep(LIMITS.keptAnswerBytes / 2)]
    const third = keep(10)
    const fourth = keep(LIMITS.keptAnswerBytes + 1)
    expect([first, second, third, fourth].map(stream => shelf.kept(stream) !== undefined)).toEqual([
      false,
      true,
      true,
      false,
    ])
    shelf.clear()
    expect([buffers.bytes, buffers.count]).toEqual([0, 0])
  })

  test('go before anything else that is larger has to, when all is too much', () => {
    const { buffers } = open({ ...BUFFER_BOUNDS, totalBytes: MB })
    const shelf = new AnswerShelf(buffers, true)
    const stream = shelf.open(answer)
    shelf.close(stream, { event: 1, message: message(MB / 2) })
    const other = shelf.open(answer)
    shelf.close(other, { event: 1, message: message(MB / 2) })
    expect(buffers.bytes).toBe(MB)
    const late = new AnswerShelf(buffers, true)
    late.close(late.open(answer), { event: 1, message: message(10) })
    expect([shelf.kept(stream), shelf.kept(other), buffers.bytes]).toEqual([undefined, undefined, 10])
  })
})
