import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, Outcome } from '../model/index.js'
import { objectAt } from '../wire/index.js'
import { encodeLegacy, legacyTool } from './eras/legacy.js'
import { encodeModern } from './eras/modern.js'
import type { Final } from './failures.js'

const INFO = { name: 'holdfast', title: 'Holdfast', version: '1' }
const call = (method: string, params = '{}') =>
  ({ method, params: objectAt(Buffer.from(params)) }) as unknown as Call
const answered = (reply: 'result' | 'error', json: string, era: 'legacy' | 'modern'): Outcome => ({
  kind: 'answered',
  era,
  upstream: 'up',
  reply: { [reply]: Buffer.from(json) } as { result: Buffer },
})
const text = (final: Final | null) =>
  final && Buffer.from('result' in final ? final.result : final.error).toString()

describe('an outcome', () => {
  test('of the same era passes byte for byte, legacy to legacy', () => {
    const odd = '{ "a" : 1E400,"a":2, "\\u0062":12345678901234567890 }'
    expect(text(encodeLegacy(call('tools/call'), answered('result', odd, 'legacy')))).toBe(odd)
    expect(text(encodeLegacy(call('x'), answered('error', odd, 'legacy')))).toBe(odd)
  })

  test('of a modern server loses for a legacy client what that era never had', () => {
    const down = (json: string) => text(encodeLegacy(call('tools/call'), answered('result', json, 'modern')))
    expect(
      down(
        '{"content":[],"n":1.0,"resultType":"complete","ttlMs":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{},"mine":1.0}}',
      ),
    ).toBe('{"content":[],"n":1.0,"_meta":{"mine":1.0}}')
    expect(down('{"content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{}}}')).toBe('{"content":[]}')
    expect(down('{"content":[],"structuredContent":[1.0]}')).toBe(
      '{"content":[{"type":"text","text":"[1.0]"}]}',
    )
    expect(down('{"structuredContent":7}')).toBe('{"content":[{"type":"text","text":"7"}]}')
    expect(down('{"content":[{"type":"text","text":"seven"}],"structuredContent":7}')).toBe(
      '{"content":[{"type":"text","text":"seven"}]}',
    )
    expect(down('{"content":[],"structuredContent":{"a":1.0}}')).toBe(
      '{"content":[],"structuredContent":{"a":1.0}}',
    )
  })

  test('of a legacy server gains for a modern client what that era wants', () => {
    const up = (method: string, json: string) =>
      JSON.parse(text(encodeModern(call(method), answered('result', json, 'legacy'), INFO)) ?? '')
    expect(up('tools/call', '{"content":[],"_meta":{"a":1}}')).toEqual({
      content: [],
      resultType: 'complete',
      _meta: { a: 1, 'io.modelcontextprotocol/serverInfo': INFO },
    })
    expect(up('resources/read', '{"contents":[]}')).toMatchObject({ ttlMs: 0, cacheScope: 'private' })
  })

  test('with a code that speaks of the hop behind us is not passed on as if it spoke of ours', () => {
    for (const code of [-32020, -32022, -32042, -32099]) {
      const error = `{"code":${code},"message":"m"}`
      const modern = JSON.parse(
        text(encodeModern(call('prompts/get'), answered('error', error, 'modern'), INFO)) ?? '',
      )
      expect([code, modern.code, modern.data.code]).toEqual([code, -32603, code])
    }
    const capability = answered('error', '{"code":-32021,"message":"m","data":{}}', 'modern')
    expect(encodeModern(call('tools/call'), capability, INFO)).toMatchObject({ status: 400 })
    expect(JSON.parse(text(encodeLegacy(call('tools/call'), capability)) ?? '')).toMatchObject({
      isError: true,
    })
    expect(JSON.parse(text(encodeLegacy(call('prompts/get'), capability)) ?? '')).toMatchObject({
      code: -32603,
    })
  })

  test('of any shape a server may send never throws, in any pair of eras', () => {
    const keys = fc.constantFrom(
      'resultType',
      '_meta',
      'content',
      'structuredContent',
      'code',
      'message',
      'data',
      'uri',
      'x',
    )
    const json = fc.letrec(tie => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, true, 0, -32002, -32602, -32020, 'input_required', ''),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(keys, tie('value'), { maxKeys: 5 }),
      ),
    })).value
    const methods = fc.constantFrom('tools/call', 'resources/read', 'prompts/get')
    fc.assert(
      fc.property(
        json,
        methods,
        fc.constantFrom('result' as const, 'error' as const),
        fc.constantFrom('legacy' as const, 'modern' as const),
        (value, method, reply, era) => {
          const outcome = answered(reply, JSON.stringify(value), era)
          const wanted = call(method, '{"uri":"a://b"}')
          for (const final of [encodeLegacy(wanted, outcome), encodeModern(wanted, outcome, INFO)])
            JSON.parse(text(final) ?? '')
        },
      ),
    )
  })
})

describe('a tool in a legacy list', () => {
  test('keeps an output schema only if its root is an object', () => {
    const shown = (json: string) => Buffer.from(legacyTool(Buffer.from(json))).toString()
    expect(shown('{"name":"a","outputSchema":{"type":"array"},"x":1.0}')).toBe('{"name":"a","x":1.0}')
    expect(shown('{"name":"a","outputSchema":{"type":"object"}}')).toBe(
      '{"name":"a","outputSchema":{"type":"object"}}',
    )
    expect(shown('{"name":"a","outputSchema":{"anyOf":[]}}')).toBe('{"name":"a"}')
  })
})
