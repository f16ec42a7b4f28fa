import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../model/index.js'
import {
  CLIENT_SCAN,
  elementsAt,
  idBytes,
  member,
  objectAt,
  parseAt,
  scanEnvelope,
  slice,
  splitBatch,
  stringAt,
  UPSTREAM_SCAN,
  validateJson,
  WireError,
} from './index.js'

const scan = (text: string) => scanEnvelope(Buffer.from(text), CLIENT_SCAN)
const call = (params: string) => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`

/** Any JSON value as text with arbitrary white space and, at random, escaped characters. */
const looseJson: fc.Arbitrary<string> = fc
  .tuple(fc.json({ maxDepth: 4 }), fc.constantFrom('', ' ', '\n', '\t \r\n'))
  .map(([text, space]) => space + JSON.stringify(JSON.parse(text), null, space.includes(' ') ? 2 : 0) + space)

describe('a message', () => {
  test('is read for id, method, name and meta, its payload left alone', () => {
    const text = call('{"name":"x__y","arguments":{"n":12345678901234567890},"_meta":{"a":1}}')
    const envelope = scan(text)
    expect(envelope).toMatchObject({ kind: 'request', id: 1, method: 'tools/call', name: 'x__y' })
    const args = envelope.params && member(envelope.params, 'arguments')
    expect(Buffer.from(slice(envelope.bytes, args ?? { start: 0, end: 0 })).toString()).toBe(
      '{"n":12345678901234567890}',
    )
    expect(envelope.meta?.members.map(entry => entry.key)).toEqual(['a'])
  })

  test('may write its keys with escapes', () => {
    expect(scan('{"jsonrpc":"2.0","id":7,"m\\u0065thod":"ping"}')).toMatchObject({ method: 'ping', id: 7 })
  })

  test('may start with a byte order mark', () => {
    expect(scan('\ufeff{"jsonrpc":"2.0","method":"a"}').kind).toBe('notification')
  })

  test('keeps its id as it was written', () => {
    const echoed = (text: string) => Buffer.from(idBytes(scan(text))).toString()
    expect(echoed('{"jsonrpc":"2.0","id":"a\\u0062","method":"x"}')).toBe('"a\\u0062"')
    expect(echoed('{"jsonrpc":"2.0","id": 17 ,"method":"x"}')).toBe('17')
  })

  test('may carry members that nobody knows', () => {
    expect(scan('{"jsonrpc":"2.0","id":1,"result":{},"trace":[1]}').kind).toBe('result')
  })

  const refused: [what: string, text: string, code: number, id?: unknown][] = [
    ['no JSON', 'hello', -32700],
    ['JSON with something behind it', '{"jsonrpc":"2.0","method":"x"} x', -32700],
    ['a string', '"x"', -32600],
    ['a list', '[]', -32600],
    ['no version', '{"id":1,"method":"x"}', -32600, 1],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"x"}', -32600, 1],
    ['two methods', '{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}', -32600, 1],
    ['two ids', '{"jsonrpc":"2.0","id":1,"id":2,"method":"b"}', -32600],
    ['two escaped methods', '{"jsonrpc":"2.0","id":1,"method":"a","\\u006dethod":"b"}', -32600, 1],
    ['two names in its params', call('{"name":"a","name":"b"}'), -32600, 1],
    ['two lots of arguments', call('{"name":"a","arguments":{},"arguments":{}}'), -32600, 1],
    ['a null id in a request', '{"jsonrpc":"2.0","id":null,"method":"x"}', -32600],
    ['a fractional id', '{"jsonrpc":"2.0","id":1.5,"method":"x"}', -32600],
    ['an id beyond 2^53', '{"jsonrpc":"2.0","id":9007199254740993,"method":"x"}', -32600],
    ['an object as id', '{"jsonrpc":"2.0","id":{},"method":"x"}', -32600],
    ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', -32600, 1],
    ['a method and a result', '{"jsonrpc":"2.0","id":1,"method":"x","result":1}', -32600, 1],
    ['neither method nor answer', '{"jsonrpc":"2.0","id":1}', -32600, 1],
    ['a list as params', '{"jsonrpc":"2.0","id":1,"method":"x","params":[]}', -32600, 1],
    ['a number as _meta', call('{"_meta":1}'), -32600, 1],
  ]
  test.each(refused)('with %s is refused', (_what, text, code, id = null) => {
    const thrown = catching(() => scan(text))
    expect(thrown.rpcCode).toBe(code)
    if (id !== null) expect(thrown.id).toBe(id)
  })

  test('with a string id of more than LIMITS.idBytes bytes is refused', () => {
    const withId = (length: number) => `{"jsonrpc":"2.0","id":"${'x'.repeat(length)}","method":"x"}`
    expect(scan(withId(LIMITS.idBytes)).id).toHaveLength(LIMITS.idBytes)
    expect(catching(() => scan(withId(LIMITS.idBytes + 1))).rpcCode).toBe(-32600)
  })

  test('nested deeper than LIMITS.jsonDepth is refused', () => {
    const nested = (depth: number) => call(`{"arguments":${'['.repeat(depth)}${']'.repeat(depth)}}`)
    expect(scan(nested(LIMITS.jsonDepth - 2)).kind).toBe('request')
    expect(catching(() => scan(nested(LIMITS.jsonDepth - 1))).message).toContain('nested')
    expect(catching(() => scan(nested(1_000_000))).message).toContain('nested')
  })

  test('with more than LIMITS.jsonElements elements is refused, from a server only at LIMITS.upstreamJsonElements', () => {
    const many = (count: number) => Buffer.from(call(`{"arguments":[${new Array(count).fill(1).join(',')}]}`))
    expect(catching(() => scanEnvelope(many(LIMITS.jsonElements), CLIENT_SCAN)).message).toContain('elements')
    expect(scanEnvelope(many(LIMITS.jsonElements), UPSTREAM_SCAN).kind).toBe('request')
    const bomb = many(LIMITS.upstreamJsonElements)
    expect(catching(() => scanEnvelope(bomb, UPSTREAM_SCAN)).message).toContain('elements')
  })
})

describe('the scanner', () => {
  test('accepts exactly what JSON.parse accepts', () => {
    const check = (text: string) => {
      const ours = () => validateJson(Buffer.from(text), { maxDepth: 1_000, maxElements: 1_000_000 })
      const theirs = () => JSON.parse(text)
      expect(succeeds(ours), JSON.stringify(text)).toBe(succeeds(theirs))
    }
    fc.assert(fc.property(looseJson, check))
    fc.assert(
      fc.property(
        looseJson,
        fc.nat(),
        fc.constantFrom('', '"', '\\', ',', '0', '-', '.', 'e', '{', ']', '\n'),
        (text, at, junk) => {
          const place = at % (text.length + 1)
          check(text.slice(0, place) + junk + text.slice(place + (junk === '' ? 1 : 0)))
        },
      ),
      { numRuns: 2_000 },
    )
    for (const text of [
      '01',
      '-',
      '1.',
      '.5',
      '1e',
      '1e+',
      '-0',
      '0.0e-0',
      '"\\u12"',
      '"\\x"',
      '"\t"',
      'nul',
      '[1,]',
      '{"a":1,}',
      '',
    ]) {
      check(text)
    }
  })

  test('finds members and elements as JSON.parse would', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), record => {
        const text = JSON.stringify(record, null, 1)
        const object = objectAt(Buffer.from(text))
        const parsed = JSON.parse(text) as Record<string, unknown>
        for (const key of Object.keys(parsed)) {
          const found = member(object, key)
          expect(found && parseAt(object.bytes, found)).toEqual(parsed[key])
        }
        expect(object.members).toHaveLength(Object.keys(parsed).length)
      }),
    )
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), list => {
        const bytes = Buffer.from(JSON.stringify(list, null, 2))
        expect(elementsAt(bytes).map(span => parseAt(bytes, span))).toEqual(JSON.parse(bytes.toString()))
      }),
    )
  })

  test('decodes strings as JSON.parse would', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const bytes = Buffer.from(JSON.stringify(text))
        expect(stringAt(bytes, { start: 0, end: bytes.length })).toBe(JSON.parse(bytes.toString()))
      }),
    )
  })

  test('answers any bytes with an envelope or a WireError', () => {
    const tryOne = (bytes: Uint8Array) => {
      try {
        scanEnvelope(bytes, CLIENT_SCAN)
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(WireError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), tryOne), { numRuns: 2_000 })
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), tail => tryOne(Buffer.from(`{"jsonrpc":"2.0",${tail}`))),
      { numRuns: 1_000 },
    )
  })

  test('splits a batch, and refuses an empty one or one above LIMITS.batch', () => {
    const parts = splitBatch(Buffer.from('[{"a":1}, {"b":[2]}]'), LIMITS.batch)
    expect(parts.map(part => Buffer.from(part).toString())).toEqual(['{"a":1}', '{"b":[2]}'])
    expect(catching(() => splitBatch(Buffer.from('[]'), LIMITS.batch)).rpcCode).toBe(-32600)
    const tooMany = Buffer.from(`[${new Array(LIMITS.batch + 1).fill('{}').join(',')}]`)
    expect(catching(() => splitBatch(tooMany, LIMITS.batch)).message).toContain(String(LIMITS.batch))
  })
})

function catching(run: () => unknown): WireError {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof WireError) return thrown
    throw thrown
  }
  throw new Error('nothing was refused')
}

function succeeds(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch {
    return false
  }
}
