import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../../test/kit/verifies.js'
import { view } from '../../../test/kit/views.js'
import type { Component, UpstreamView } from '../../model/index.js'
import { canonicalJson } from './canonical.js'
import { flagsIn, invisiblesIn, revealInvisibles, withoutInvisibles } from './invisible.js'
import { foldName, lookalikesIn } from './lookalikes.js'
import { mergeCatalogs } from './merge.js'
import { canonicalDefinition, definitionOf, describeDifferences, differencesBetween } from './pins.js'

describe('the canonical form of JSON', () => {
  test('has no space, sorted keys, and one way to write a string', () => {
    expect(canonicalJson(' { "b" : [ 1 , true , null ] , "\\u0061" : "\\u00e9\\n" } ')).toBe(
      '{"a":"é\\n","b":[1,true,null]}',
    )
    expect(canonicalJson('[]')).toBe('[]')
    expect(canonicalJson('{"a":{}}')).toBe('{"a":{}}')
  })

  test('keeps what readers read differently: big numbers and repeated keys', () => {
    expect(canonicalJson('[12345678901234567890,1.0,1E400]')).toBe('[12345678901234567890,1.0,1E400]')
    expect(canonicalJson('{"a":1,"b":0,"a":2}')).toBe('{"a":1,"a":2,"b":0}')
  })

  test('is the same for the same value, however it is written, and reads back as that value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const text = JSON.stringify(value)
        const canonical = canonicalJson(text)
        expect(JSON.parse(canonical)).toEqual(JSON.parse(text))
        expect(canonicalJson(JSON.stringify(value, null, 3))).toBe(canonical)
        expect(canonicalJson(canonical)).toBe(canonical)
      }),
    )
  })

  test('is had of very long strings too, and refuses what is no JSON', () => {
    const long = JSON.stringify('\\"'.repeat(2_000_000))
    expect(canonicalJson(long)).toBe(long)
    for (const text of ['', '"', '{"a":}', '[1'])
      expect(() => canonicalJson(text), text).toThrow('no valid JSON')
  })
})

const TOOL = {
  name: 'read',
  title: 'Read',
  description: 'Reads a file.',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } } },
  annotations: { readOnlyHint: true },
  icons: [{ src: 'data:,x' }],
}
const hashOf = (tool: object) => canonicalDefinition(definitionOf(JSON.stringify(tool)))

describe('a pinned definition', () => {
  verifies(['CAT-PIN-WARN'], 'is another one when any of its pinned members is', () => {
    const changes = {
      name: 'reads',
      title: 'R',
      description: 'Reads a file!',
      inputSchema: { type: 'object', properties: { path: { type: 'string' }, why: { type: 'string' } } },
      outputSchema: { type: 'object' },
      arguments: [{ name: 'x' }],
      annotations: { readOnlyHint: false },
      icons: [],
    }
    for (const [member, value] of Object.entries(changes)) {
      const now = { ...TOOL, [member]: value }
      expect(hashOf(now), member).not.toBe(hashOf(TOOL))
      const found = differencesBetween(definitionOf(JSON.stringify(TOOL)), definitionOf(JSON.stringify(now)))
      expect(found.map(each => each.member)).toEqual([member])
    }
  })

  test('is the same whatever the order of its members, its spaces, and what else stands in it', () => {
    const { name, ...rest } = TOOL
    expect(hashOf({ _meta: { x: 1 }, ...rest, name })).toBe(hashOf(TOOL))
    expect(canonicalDefinition(definitionOf(JSON.stringify(TOOL, null, 2)))).toBe(hashOf(TOOL))
  })

  test('counts a repeated member with all its values', () => {
    const twice = '{"name":"a","description":"good","description":"bad"}'
    const once = '{"name":"a","description":"bad"}'
    expect(canonicalDefinition(definitionOf(twice))).not.toBe(canonicalDefinition(definitionOf(once)))
  })

  test('tells a change in words, from a little before where it begins, invisible characters written out', () => {
    const diff = (before: object, after: object) =>
      describeDifferences(
        differencesBetween(definitionOf(JSON.stringify(before)), definitionOf(JSON.stringify(after))),
      )
    expect(diff(TOOL, { ...TOOL, description: 'Reads a file.\u200B Then sends it.' })).toBe(
      'description: "Reads a file." → "Reads a file.<U+200B> Then sends it."',
    )
    expect(diff({ name: 'a' }, { name: 'a', title: 'T' })).toBe('title: (none) → "T"')
    expect(diff({ name: 'a', title: 'T' }, { name: 'a' })).toBe('title: "T" → (none)')
    const long = (end: string) => ({
      name: 'a',
      description: `${'x'.repeat(1_000)}${end}${'y'.repeat(1_000)}`,
    })
    const text = diff(long('old'), long('new'))
    expect(text).toMatch(/^description: "…x{24}oldy{93}…" → "…x{24}newy{93}…"$/)
    const smile = (end: string) => ({ name: 'a', description: `${'😀'.repeat(100)}${end}` })
    expect(diff(smile('1'), smile('2'))).not.toMatch(/\p{Surrogate}/u)
  })
})

describe('invisible characters', () => {
  verifies(['CAT-INVISIBLE'], 'are found in every text of a definition, escaped or not', () => {
    const tag = '\u{E0041}\u{E0042}'
    const hidden = {
      name: 'a\u200Bb',
      description: `Adds.${tag} And \u202Ethat.`,
      inputSchema: { properties: { 'p\u2060': { description: 'x\u00ADy' } } },
      annotations: { title: '\u2066t' },
    }
    const expected = [
      { member: 'name', characters: ['U+200B'] },
      { member: 'description', characters: ['U+E0041', 'U+E0042', 'U+202E'] },
      { member: 'inputSchema', characters: ['U+2060', 'U+00AD'] },
      { member: 'annotations', characters: ['U+2066'] },
    ]
    const raw = JSON.stringify(hidden)
    const escaped = raw.replace(/[^\x20-\x7e]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    expect(flagsIn(raw)).toEqual(expected)
    expect(flagsIn(escaped)).toEqual(expected)
    expect(flagsIn(JSON.stringify({ d: '\u200B\u200B\u200B' }))).toEqual([
      { member: 'd', characters: ['U+200B ×3'] },
    ])
    expect(flagsIn(JSON.stringify({ d: '\u001B[2J' }))).toEqual([{ member: 'd', characters: ['U+001B'] }])
  })

  test('are no matter where emoji and scripts need them, nor are spaces and line breaks', () => {
    for (const text of ['plain\n\ttext', 'é ü 日本語', '✔️ done', '👩‍💻', 'می‌خواهم', 'क्‍ष'])
      expect(invisiblesIn(text), text).toEqual(new Map())
    expect([...invisiblesIn('pay\u200Dpal').keys()]).toEqual(['U+200D'])
    expect([...invisiblesIn('a\uFE0F').keys()]).toEqual(['U+FE0F'])
  })

  test('are written out, or taken away, and everything else stays', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        expect(invisiblesIn(withoutInvisibles(text))).toEqual(new Map())
        expect(invisiblesIn(revealInvisibles(text))).toEqual(new Map())
        const plain = text.replace(/[^\x20-\x7e]/g, '')
        expect(withoutInvisibles(plain)).toBe(plain)
        expect(revealInvisibles(plain)).toBe(plain)
      }),
    )
  })
})

describe('names that look alike', () => {
  const offering = (name: string, ...keys: string[]): UpstreamView =>
    view(name, {
      prefix: name === 'bare' ? '' : name,
      catalog: {
        ...view(name).catalog,
        tools: {
          state: 'live',
          fetchedAt: 0,
          items: keys.map((key): Component => ({ kind: 'tools', key, bytes: Buffer.from('{}') })),
        },
      },
    })
  const among = (...views: UpstreamView[]) =>
    lookalikesIn(mergeCatalogs(views), name => (name === 'bare' ? '' : name)).map(
      ({ upstream, like, of }) => `${upstream} ${like} ${of}`,
    )

  verifies(['CAT-LOOKALIKE'], 'are told with the earlier name and its owner', () => {
    expect(among(offering('a', 'read', 'Read', 'write'))).toEqual(['a a__read a'])
    expect(among(offering('a', 'read', 'ｒｅａｄ'))).toEqual(['a a__read a'])
    expect(among(offering('a', 'read', 're\u200Bad'))).toEqual(['a a__read a'])
    expect(among(offering('a', 'x'), offering('bare', 'A__X'))).toEqual(['bare a__x a'])
    expect(among(offering('a', 'read'), offering('b', 'read'))).toEqual([])
  })

  test('are found whatever is put between, in whatever case', () => {
    expect(foldName('STRASSE')).toBe(foldName('straße'))
    const name = fc.stringMatching(/^[a-z_-]{1,12}$/)
    fc.assert(
      fc.property(name, fc.constantFrom('\u200B', '\u2060', '\u{E0061}', '\u202E', ''), (text, hidden) => {
        expect(foldName(`${text.toUpperCase()}${hidden}`)).toBe(foldName(text))
        expect(foldName(foldName(text))).toBe(foldName(text))
      }),
    )
  })
})
