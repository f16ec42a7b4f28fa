import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { offering, view } from '../../../test/kit/views.js'
import { EMPTY_CATALOG, LIMITS, type UpstreamView } from '../../model/index.js'
import {
  allows,
  matchesGlob,
  matchesTemplate,
  mergeCatalogs,
  mergeInstructions,
  missingFor,
  nativeUri,
  prefixOf,
  publicName,
  publicUri,
  scopeToServer,
} from './index.js'

const snapshotOf = (...views: UpstreamView[]) => ({
  version: 1,
  upstreams: new Map(views.map(each => [each.name, each])),
  catalog: mergeCatalogs(views),
})
const names = (views: UpstreamView[]) => mergeCatalogs(views).listed.tools.map(entry => entry.key)
const prefixes = fc.stringMatching(/^[A-Za-z0-9.-]{1,12}$/)

describe('a public name', () => {
  test('is PREFIX__NAME, or the name alone', () => {
    expect(publicName('files', 'read')).toBe('files__read')
    expect(publicName('', 'read')).toBe('read')
  })

  test('fits into LIMITS.publicName and into what clients take, whatever the native one is', () => {
    fc.assert(
      fc.property(prefixes, fc.string(), (prefix, native) => {
        const name = publicName(prefix, native)
        expect(name).toMatch(/^[A-Za-z0-9_.-]+$/)
        expect(name.length).toBeLessThanOrEqual(LIMITS.publicName)
        expect(publicName(prefix, native)).toBe(name)
      }),
    )
  })

  test('tells apart what cutting or cleaning would make alike', () => {
    const long = 'x'.repeat(100)
    expect(publicName('a', `${long}1`)).not.toBe(publicName('a', `${long}2`))
    expect(publicName('a', 'get data')).not.toBe(publicName('a', 'get/data'))
    const many = new Set(Array.from({ length: 2_000 }, (_, i) => publicName('a', `${'é'.repeat(80)}${i}`)))
    expect(many.size).toBe(2_000)
  })
})

describe('a public URI', () => {
  test('keeps its scheme and is turned back exactly', () => {
    fc.assert(
      fc.property(
        prefixes,
        fc.stringMatching(/^[a-z][a-z0-9+.-]{0,8}:(\/\/)?$/),
        fc.string(),
        (prefix, head, rest) => {
          fc.pre(!/^https?:/.test(head))
          const shown = publicUri(prefix, head + rest)
          expect(shown.startsWith(head.replace(/\/\/$/, ''))).toBe(true)
          expect(nativeUri(prefix, shown)).toBe(head + rest)
          expect(prefixOf(shown)).toBe(prefix)
        },
      ),
    )
  })

  test.each([
    ['file:///tmp/x', 'file://p~//tmp/x'],
    ['ui://app/view', 'ui://p~/app/view'],
    ['urn:a:b', 'urn:p~/a:b'],
    ['demo://r/{id}', 'demo://p~/r/{id}'],
    ['https://example.com/x', 'https://example.com/x'],
    ['no scheme', 'no scheme'],
  ])('of %s is %s', (native, shown) => {
    expect(publicUri('p', native)).toBe(shown)
    expect(publicUri('', native)).toBe(native)
  })
})

describe('a URI template', () => {
  test.each([
    ['demo://r/{id}', 'demo://r/17', true],
    ['demo://r/{id}', 'demo://r/17/more', false],
    ['demo://r/{+path}', 'demo://r/a/b/c', true],
    ['file:///{path*}', 'file:///a/b', true],
    ['demo://r/{id}/x{?q,n}', 'demo://r/1/x?q=2', true],
    ['demo://r/{id}', 'other://r/1', false],
    ['demo://{broken', 'demo://{broken', true],
  ])('%s against %s: %s', (template, uri, expected) => {
    expect(matchesTemplate(template, uri)).toBe(expected)
  })

  test('made to explode a backtracking matcher does not', () => {
    const template = `a://${'{x}{+y}'.repeat(200)}!`
    expect(matchesTemplate(template, `a://${'b'.repeat(2_000)}`)).toBe(false)
  })
})

describe('a filter', () => {
  test.each([
    ['*', 'anything', true],
    ['read_*', 'read_file', true],
    ['read_*', 'write_file', false],
    ['*_file', 'read_file', true],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['a.c', 'abc', false],
    ['*a*b*', 'xxaxxbxx', true],
    ['', '', true],
  ])('pattern %j on %j: %s', (pattern, name, expected) => {
    expect(matchesGlob(pattern, name)).toBe(expected)
  })

  test('denies before it allows, and allows everything without a list', () => {
    expect(allows({}, 'x')).toBe(true)
    expect(allows({ allow: ['x'] }, 'y')).toBe(false)
    expect(allows({ allow: ['*'], deny: ['x'] }, 'x')).toBe(false)
  })

  test('of many stars takes no exponential time', () => {
    expect(matchesGlob('*a'.repeat(50), `${'a'.repeat(5_000)}b`)).toBe(false)
  })
})

describe('the merged catalog', () => {
  test('stands in config order, whoever answered first', () => {
    const views = ['b', 'a', 'c'].map(name => view(name, { catalog: offering('tools', 'z', 'y') }))
    expect(names(views)).toEqual(['b__z', 'b__y', 'a__z', 'a__y', 'c__z', 'c__y'])
  })

  test('gives a name to the first server of the config; the later one stays callable under its own', () => {
    const shared = { prefix: 'x', catalog: offering('tools', 't') }
    const merged = mergeCatalogs([
      view('a', shared),
      view('b', { ...shared, catalog: offering('tools', 't', 'u') }),
    ])
    expect(merged.listed.tools.map(entry => [entry.key, entry.upstream])).toEqual([
      ['x__t', 'a'],
      ['x__u', 'b'],
    ])
    expect(merged.shadowed).toEqual([
      { kind: 'tools', key: 'x__t', upstream: 'b', by: 'a', reachableAs: 'b__t' },
    ])
    expect(merged.byKey.tools.get('b__t')?.upstream).toBe('b')
  })

  test('does not give the name to another server because its owner is down', () => {
    const shared = { prefix: '', catalog: offering('tools', 't') }
    const merged = mergeCatalogs([view('a', { ...shared, state: 'backoff' }), view('b', shared)])
    expect(merged.byKey.tools.get('t')?.upstream).toBe('a')
  })

  test('does not give it away either where that owner is hidden while it is down', () => {
    const shared = { prefix: '', catalog: offering('tools', 't') }
    for (const away of [{ state: 'backoff', unavailable: 'hide' }, { state: 'misconfigured' }] as const) {
      const merged = mergeCatalogs([view('a', { ...shared, ...away }), view('b', shared)])
      expect(merged.listed.tools).toEqual([])
      expect(merged.byKey.tools.get('t')?.upstream).toBe('a')
      expect(merged.byKey.tools.get('b__t')?.upstream).toBe('b')
    }
  })

  test('does not hide what a later server offers behind one that was never reached', () => {
    const views = [
      view('a', { prefix: 'x', state: 'backoff' }),
      view('b', { prefix: 'x', catalog: offering('tools', 't') }),
    ]
    expect(names(views)).toEqual(['x__t'])
    expect(names([...views].reverse())).toEqual(['x__t'])
  })

  test('drops a server that is down only where the config says hide', () => {
    const down = { state: 'backoff', catalog: offering('tools', 't') } as const
    expect(names([view('a', { ...down, unavailable: 'keep' })])).toEqual(['a__t'])
    expect(names([view('a', { ...down, unavailable: 'hide' })])).toEqual([])
    expect(names([view('a', { catalog: offering('tools', 't'), state: 'disabled' })])).toEqual([])
  })

  test('is the same for the same views, however often and whatever was merged before', () => {
    const tool = fc.constantFrom('t', 'u', 'v', 'w')
    const server = fc.record({ prefix: fc.constantFrom('', 'x', 'y'), tools: fc.uniqueArray(tool) })
    fc.assert(
      fc.property(fc.array(server, { maxLength: 4 }), servers => {
        const views = servers.map(({ prefix, tools }, i) =>
          view(`s${i}`, { prefix, catalog: offering('tools', ...tools) }),
        )
        const shape = () => mergeCatalogs(views).listed.tools.map(entry => `${entry.key}@${entry.upstream}`)
        const first = shape()
        mergeCatalogs([...views].reverse())
        expect(shape()).toEqual(first)
        expect(new Set(first.map(entry => entry.split('@')[0])).size).toBe(first.length)
      }),
    )
  })

  test('of one server alone has its own names', () => {
    const alone = scopeToServer(view('a', { catalog: offering('tools', 'get data', 't') }))
    expect(alone.listed.tools.map(entry => entry.key)).toEqual(['get data', 't'])
  })
})

describe('what is missing from a list', () => {
  const missing = (...views: UpstreamView[]) =>
    missingFor(snapshotOf(...views), 'tools', { kind: 'all' }).map(found => [
      found.view.name,
      found.stale,
      found.kind,
    ])

  test('names servers that are down, starting or misconfigured, and none that are fine', () => {
    expect(
      missing(
        view('fine', { catalog: offering('tools', 't') }),
        view('down', { state: 'backoff' }),
        view('stale', { state: 'backoff', catalog: offering('tools', 't') }),
        view('coming', { state: 'starting', settled: false }),
        view('wrong', { state: 'misconfigured' }),
        view('off', { state: 'disabled' }),
      ),
    ).toEqual([
      ['down', false, undefined],
      ['stale', true, undefined],
      ['coming', false, undefined],
      ['wrong', false, undefined],
    ])
  })

  test('names a list that failed alone, and no list that a server does not have', () => {
    const failed = { ...EMPTY_CATALOG, tools: { state: 'failed', reason: 'x', items: [] } } as const
    const absent = { ...EMPTY_CATALOG, tools: { state: 'absent' } } as const
    expect(missing(view('a', { catalog: failed }), view('b', { catalog: absent }))).toEqual([
      ['a', false, 'tools'],
    ])
  })
})

describe('merged instructions', () => {
  test('stand under the names of their servers, within bounds', () => {
    const text = mergeInstructions([
      view('a', { instructions: 'Use wisely.' }),
      view('b'),
      view('c', { instructions: 'x'.repeat(10_000) }),
    ])
    expect(text).toContain('## a (names start with a__)\n\nUse wisely.')
    expect(text).not.toContain('## b')
    expect(text.length).toBeLessThan(3_000)
    const many = Array.from({ length: 50 }, (_, i) => view(`s${i}`, { instructions: 'y'.repeat(2_000) }))
    expect(mergeInstructions(many).length).toBeLessThanOrEqual(17_000)
  })
})
