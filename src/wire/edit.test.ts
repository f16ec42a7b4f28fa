import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  editObject,
  errorMessage,
  json,
  member,
  notificationMessage,
  objectAt,
  requestMessage,
  resultMessage,
  singleLine,
  slice,
} from './index.js'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

describe('an edit', () => {
  test('leaves every byte of what it does not name', () => {
    const before =
      '{ "b" : 12345678901234567890,"a":1E400 , "\\u0063":"\\ud800","d":1.10, "x":{"z":1,"y":2} }'
    const edited = editObject(objectAt(Buffer.from(before)), new Map([['a', Buffer.from('true')]]))
    expect(text(edited)).toBe(
      '{"b" : 12345678901234567890,"a":true,"\\u0063":"\\ud800","d":1.10,"x":{"z":1,"y":2}}',
    )
  })

  test('removes, replaces and adds as the same edit of the parsed object would', () => {
    const record = fc.dictionary(fc.string(), fc.jsonValue())
    fc.assert(
      fc.property(record, record, fc.array(fc.string()), record, (start, replaced, removed, added) => {
        const object = objectAt(json(start))
        const edits = new Map<string, Uint8Array | null>()
        for (const [key, value] of Object.entries(replaced)) edits.set(key, json(value))
        for (const key of removed) edits.set(key, null)
        const append = Object.entries(added).map(([key, value]) => [key, json(value)] as const)
        const expected = new Map<string, unknown>()
        for (const [key, value] of Object.entries(start)) {
          if (key in added && Object.hasOwn(added, key)) expected.set(key, added[key])
          else if (edits.get(key) !== null)
            expected.set(key, Object.hasOwn(replaced, key) ? replaced[key] : value)
        }
        for (const [key, value] of Object.entries(added)) expected.set(key, value)
        const result = new Map(Object.entries(JSON.parse(text(editObject(object, edits, append)))))
        const sorted = (map: Map<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
        expect(JSON.stringify(sorted(result))).toBe(JSON.stringify(sorted(expected)))
      }),
    )
  })

  test('keeps the bytes of untouched members whatever stands around them', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), record => {
        const object = objectAt(Buffer.from(JSON.stringify(record, null, 3)))
        const edited = objectAt(editObject(object, undefined, [['__added', json(1)]]))
        for (const entry of object.members) {
          if (entry.key === '__added') continue
          const after = member(edited, entry.key)
          expect(after && text(slice(edited.bytes, after))).toBe(text(slice(object.bytes, entry)))
        }
      }),
    )
  })
})

describe('a message made of parts', () => {
  test('carries payload bytes unchanged', () => {
    const payload = Buffer.from('{"n":12345678901234567890,"e":1E400,"f":1.10,"s":"\\ud800"}')
    expect(text(resultMessage(Buffer.from('"a"'), payload))).toBe(
      `{"jsonrpc":"2.0","id":"a","result":${payload}}`,
    )
    expect(text(requestMessage(3, 'm', payload))).toBe(
      `{"jsonrpc":"2.0","id":3,"method":"m","params":${payload}}`,
    )
    expect(text(requestMessage(3, 'm', null))).toBe('{"jsonrpc":"2.0","id":3,"method":"m"}')
    expect(text(errorMessage(null, payload))).toBe(`{"jsonrpc":"2.0","id":null,"error":${payload}}`)
    expect(text(notificationMessage('n', payload))).toBe(`{"jsonrpc":"2.0","method":"n","params":${payload}}`)
  })

  test('becomes one line without changing its meaning', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const line = text(singleLine(Buffer.from(JSON.stringify(value, null, 2))))
        expect(line).not.toMatch(/[\r\n]/)
        expect(JSON.stringify(JSON.parse(line))).toBe(JSON.stringify(value))
      }),
    )
    const bytes = Buffer.from('{"a":1}')
    expect(singleLine(bytes)).toBe(bytes)
  })
})
