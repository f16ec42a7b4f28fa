import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeHeaderValue,
  encodeEvent,
  encodeHeaderValue,
  encodeLine,
  LineSplitter,
  SSE_KEEPALIVE,
  type SseEvent,
  SseParser,
} from './index.js'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let at = 0
  for (let i = 0; at < bytes.length; i += 1) {
    const size = Math.max(1, sizes[i % Math.max(1, sizes.length)] ?? 1)
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

function lines(chunks: readonly Buffer[], max = 1_000_000) {
  const got: string[] = []
  const dropped: number[] = []
  const splitter = new LineSplitter(max, {
    line: bytes => got.push(text(bytes)),
    overflow: (_prefix, total) => dropped.push(total),
  })
  let most = 0
  for (const chunk of chunks) {
    splitter.push(chunk)
    most = Math.max(most, splitter.bufferedBytes)
  }
  return { got, dropped, most }
}

const chunkSizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 })
const line = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter(part => !/[\r\n\ufeff]/.test(part))

describe('lines', () => {
  test('come out the same however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), chunkSizes, (parts, end, sizes) => {
        const bytes = Buffer.from(parts.map(part => part + end).join(''))
        expect(lines(cut(bytes, sizes)).got).toEqual(parts)
        expect(lines([bytes]).got).toEqual(parts)
      }),
    )
  })

  test('skip empty ones and a byte order mark, and drop a last one without an end', () => {
    expect(lines([Buffer.from('\ufeff{"a":1}\n\n\r\n{"b":2}\r\n{"c"')]).got).toEqual(['{"a":1}', '{"b":2}'])
  })

  test('over the bound are dropped up to their end without being held', () => {
    const long = Buffer.from(`${'x'.repeat(5_000)}\nshort\n`)
    const { got, dropped, most } = lines(cut(long, [64]), 1_000)
    expect(got).toEqual(['short'])
    expect(dropped).toEqual([5_000])
    expect(most).toBeLessThanOrEqual(1_064)
  })

  test('of ten megabytes in small chunks are copied twice at most, and not held as small chunks', () => {
    const size = 10 * 1024 * 1024
    const chunk = Buffer.alloc(64, 0x61)
    let joined = 0
    const splitter = new LineSplitter(16 * 1024 * 1024, {
      line: bytes => {
        joined = bytes.length
      },
      overflow: () => undefined,
    })
    const concat = Buffer.concat
    let copied = 0
    let pieces = 0
    Buffer.concat = (list, ...rest) => {
      pieces = Math.max(pieces, list.length)
      const whole = concat(list, ...rest)
      copied += whole.length
      return whole
    }
    try {
      for (let sent = 0; sent < size; sent += chunk.length) splitter.push(chunk)
      splitter.push(Buffer.from('\n'))
    } finally {
      Buffer.concat = concat
    }
    expect(joined).toBe(size)
    expect(copied).toBeLessThanOrEqual(2 * size)
    expect(pieces).toBeLessThanOrEqual(2_000)
  })

  test('without an end are told when they pass the bound, and with each further length of it', () => {
    const told: [string, number][] = []
    const ends: [string, number, string][] = []
    const splitter = new LineSplitter(1_000, {
      line: () => undefined,
      exceeded: (prefix, total) => told.push([text(prefix).slice(0, 8), total]),
      overflow: (prefix, total, suffix) => ends.push([text(prefix).slice(0, 8), total, text(suffix)]),
    })
    splitter.push(Buffer.from('{"id":1,'))
    for (let i = 0; i < 35; i += 1) splitter.push(Buffer.alloc(100, 0x78))
    expect(told.map(([prefix]) => prefix)).toEqual(['{"id":1,', '{"id":1,', '{"id":1,'])
    expect(told[0]?.[1]).toBeLessThan(1_200)
    for (const end of '"end"}\n') splitter.push(Buffer.from(end))
    expect(ends).toEqual([['{"id":1,', 3_514, `${'x'.repeat(58)}"end"}`]])
  })

  test('are written with their inner line breaks made harmless', () => {
    expect(text(encodeLine(Buffer.from('{\n"a":\r\n1}')))).toBe('{ "a":  1}\n')
  })
})

function events(chunks: readonly Buffer[], max = 1_000_000) {
  const got: (Omit<SseEvent, 'data'> & { data: string })[] = []
  const retries: number[] = []
  const dropped: number[] = []
  const parser = new SseParser(max, {
    event: event => got.push({ ...event, data: text(event.data) }),
    retry: ms => retries.push(ms),
    overflow: total => dropped.push(total),
  })
  for (const chunk of chunks) parser.push(chunk)
  return { got, retries, dropped, lastEventId: parser.lastEventId }
}

describe('server-sent events', () => {
  test('come out the same however the bytes are cut, with any line end', () => {
    const event = fc.record({
      name: fc.constantFrom('', 'message', 'endpoint'),
      data: fc.array(line, { minLength: 1, maxLength: 3 }),
    })
    fc.assert(
      fc.property(fc.array(event), fc.constantFrom('\n', '\r\n', '\r'), chunkSizes, (sent, end, sizes) => {
        const stream = sent
          .map(({ name, data }) =>
            [...(name ? [`event: ${name}`] : []), ...data.map(part => `data: ${part}`), '', ''].join(end),
          )
          .join('')
        const expected = sent.map(({ name, data }) => ({
          event: name || 'message',
          data: data.join('\n'),
          id: null,
        }))
        expect(events(cut(Buffer.from(stream), sizes)).got).toEqual(expected)
        expect(events([Buffer.from(stream)]).got).toEqual(expected)
      }),
    )
  })

  test('may have ids, retry times and comments', () => {
    const { got, retries, lastEventId } = events([
      Buffer.from(': hello\nretry: 250\nid: 7\ndata: a\n\nretry: x\ndata:b\n\nid: 8\n\n'),
    ])
    expect(got).toEqual([
      { event: 'message', data: 'a', id: '7' },
      { event: 'message', data: 'b', id: '7' },
    ])
    expect(retries).toEqual([250])
    expect(lastEventId).toBe('8')
  })

  test('over the bound are dropped and counted, and the next one is read', () => {
    const stream = Buffer.from(`data: ${'x'.repeat(3_000)}\n\ndata: ok\n\n`)
    const { got, dropped } = events(cut(stream, [7]), 1_000)
    expect(got.map(event => event.data)).toEqual(['ok'])
    expect(dropped).toHaveLength(1)
  })

  test('over the bound are told at once, and at their end with how they begin and end', () => {
    let exceeded = 0
    const ends: [number, string, string][] = []
    const parser = new SseParser(1_000, {
      event: () => undefined,
      retry: () => undefined,
      exceeded: () => {
        exceeded += 1
      },
      overflow: (total, prefix, suffix) =>
        ends.push([total, text(prefix).slice(0, 8), text(suffix).slice(-8)]),
    })
    const one = `data: {"id":1,${'x'.repeat(2_000)},"id":1}`
    for (const chunk of cut(Buffer.from(one), [100])) parser.push(chunk)
    expect([exceeded, ends.length]).toEqual([1, 0])
    parser.push(Buffer.from('\n\n'))
    const many = `${'data: 0123456789\n'.repeat(200)}data: tail"id":9}\n\n`
    for (const chunk of cut(Buffer.from(many), [333])) parser.push(chunk)
    expect(exceeded).toBe(2)
    expect(ends.map(([, prefix, suffix]) => [prefix, suffix])).toEqual([
      ['{"id":1,', ',"id":1}'],
      ['01234567', 'l"id":9}'],
    ])
  })

  test('of a million empty lines are no million objects', () => {
    let length = 0
    const parser = new SseParser(16 * 1024 * 1024, {
      event: ({ data }) => {
        length = data.length
      },
      retry: () => undefined,
      overflow: () => undefined,
    })
    const concat = Buffer.concat
    let pieces = 0
    Buffer.concat = (list, ...rest) => {
      pieces = Math.max(pieces, list.length)
      return concat(list, ...rest)
    }
    try {
      const chunk = Buffer.from('data:\n'.repeat(10_000))
      for (let i = 0; i < 100; i += 1) parser.push(chunk)
      parser.push(Buffer.from('\n'))
    } finally {
      Buffer.concat = concat
    }
    expect(length).toBe(999_999)
    expect(pieces).toBeLessThan(5_000)
  })

  test('are written so that their data cannot forge a field', () => {
    const written = encodeEvent(Buffer.from('{"a":\n"data: x\\n\\nevent: evil"}'))
    expect(events([written]).got).toEqual([
      { event: 'message', data: '{"a": "data: x\\n\\nevent: evil"}', id: null },
    ])
    expect(events([Buffer.from(SSE_KEEPALIVE)]).got).toEqual([])
  })
})

describe('header values', () => {
  test('survive the round trip and are always safe', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), value => {
        const encoded = encodeHeaderValue(value)
        expect(encoded).toMatch(/^[\t\x20-\x7e]*$/)
        expect(decodeHeaderValue(encoded)).toBe(value)
      }),
    )
  })

  test('are encoded only where they must be', () => {
    expect(encodeHeaderValue('gh.search')).toBe('gh.search')
    expect(encodeHeaderValue(' x')).toMatch(/^=\?base64\?/)
    expect(encodeHeaderValue('=?base64?eA==?=')).toBe('=?base64?PT9iYXNlNjQ/ZUE9PT89?=')
  })

  test.each(['=?base64?e?=', '=?base64?$$$$?=', '=?base64?/w==?='])(
    'of the form %s cannot be decoded',
    value => {
      expect(decodeHeaderValue(value)).toBeUndefined()
    },
  )

  test('with other markers are taken as they are', () => {
    expect(decodeHeaderValue('=?BASE64?eA==?=')).toBe('=?BASE64?eA==?=')
  })
})
