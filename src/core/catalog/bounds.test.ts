import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { component, offering, view } from '../../../test/kit/views.js'
import { EMPTY_CATALOG, KINDS, type UpstreamView } from '../../model/index.js'
import {
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

const prefixes = fc.stringMatching(/^[A-Za-z0-9_.-]{1,12}$/)

describe('a public URI of any server', () => {
  test('is turned back exactly, whatever it is, or was never changed', () => {
    const uris = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.constantFrom('demo:', 'demo://', 'ui://', 'FILE:///', 'http:', 'urn:~/'), fc.string())
        .map(([head, rest]) => head + rest),
    )
    fc.assert(
      fc.property(prefixes, uris, (prefix, uri) => {
        const shown = publicUri(prefix, uri)
        if (shown === uri) expect(nativeUri(prefix, shown)).toBeUndefined()
        else expect([nativeUri(prefix, shown), prefixOf(shown)]).toEqual([uri, prefix])
      }),
    )
  })

  test('carries no prefix where a client can fetch it by itself', () => {
    expect(nativeUri('p', 'https://p~/x')).toBeUndefined()
    expect(prefixOf('https://p~/x')).toBeUndefined()
  })

  test('is a template only after a literal scheme', () => {
    expect(publicUri('p', '{scheme}://x')).toBe('{scheme}://x')
    expect(publicUri('p', 'demo://{+path}')).toBe('demo://p~/{+path}')
  })
})

describe('a URI template from a hostile server', () => {
  const timed = (template: string, uri: string) => {
    const start = performance.now()
    const matched = matchesTemplate(template, uri)
    return { matched, ms: performance.now() - start }
  }

  test.each([
    ['millions of runs', '{a}'.repeat(500_000), 'b/'.repeat(1_000)],
    ['runs between letters', 'a{x}'.repeat(20_000), 'a'.repeat(40_000)],
    ['runs of either kind between letters', '{+x}a{y}b'.repeat(10_000), 'ab'.repeat(20_000)],
    ['a long text that nearly fits everywhere', `{+x}${'a'.repeat(60_000)}b{+y}c`, `${'a'.repeat(120_000)}c`],
    ['braces that never close', '{'.repeat(300_000), 'x'],
  ])('with %s costs time in proportion to its length', (_what, template, uri) => {
    const { matched, ms } = timed(template, uri)
    expect(matched).toBe(false)
    expect(ms).toBeLessThan(1_000)
  })

  test('finds what a plain search for every way to fill it finds', () => {
    const piece = fc.constantFrom('a', 'b', '/', '{v}', '{+v}', '{?q}', 'ab', '{v}{w}')
    const uri = fc.array(fc.constantFrom('a', 'b', '/'), { maxLength: 8 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), uri, (pieces, text) => {
        expect(matchesTemplate(pieces.join(''), text)).toBe(fills(pieces.join(''), text))
      }),
      { numRuns: 500 },
    )
  })
})

/** The same question by trying everything; fine for eight characters. */
function fills(template: string, uri: string): boolean {
  if (template === '') return uri === ''
  if (template[0] !== '{') return uri[0] === template[0] && fills(template.slice(1), uri.slice(1))
  const close = template.indexOf('}')
  const stopsAtSlash = /^\w+$/.test(template.slice(1, close))
  for (let end = 0; end <= uri.length; end += 1) {
    if (fills(template.slice(close + 1), uri.slice(end))) return true
    if (stopsAtSlash && uri[end] === '/') return false
  }
  return false
}

describe('a merged catalog', () => {
  test('is the same in whatever order the servers became known', () => {
    const server = fc.record({
      prefix: fc.constantFrom('', 'x', 's0', 's1'),
      keys: fc.uniqueArray(fc.constantFrom('t', 'u', 's0__t', 'x__t', 'a b'), { maxLength: 4 }),
    })
    const servers = fc
      .array(server, { minLength: 1, maxLength: 4 })
      .chain(list =>
        fc.tuple(
          fc.constant(list),
          fc.shuffledSubarray([...list.keys()], { minLength: list.length, maxLength: list.length }),
        ),
      )
    fc.assert(
      fc.property(servers, ([list, order]) => {
        const known = list.map(({ prefix, keys }, i) =>
          view(`s${i}`, { prefix, catalog: offering('tools', ...keys) }),
        )
        let views: UpstreamView[] = known.map(each => ({
          ...each,
          state: 'starting',
          catalog: EMPTY_CATALOG,
        }))
        for (const index of order) {
          views = views.map((each, i) => (i === index ? (known[i] ?? each) : each))
          mergeCatalogs(views)
        }
        expect(shapeOf(views)).toEqual(shapeOf(known))
      }),
    )
  })

  test('reports two pairs of prefix and name that make one name, with both servers', () => {
    const merged = mergeCatalogs([
      view('a', { prefix: 'a_', catalog: offering('tools', 'b') }),
      view('b', { prefix: 'a', catalog: offering('tools', '_b') }),
    ])
    expect(merged.shadowed).toEqual([
      { kind: 'tools', key: 'a___b', upstream: 'b', by: 'a', reachableAs: 'b___b' },
    ])
  })

  test('says so where a loser has no name left', () => {
    const merged = mergeCatalogs([
      view('a', { prefix: '', catalog: offering('tools', 'b__t') }),
      view('b', { catalog: offering('tools', 't') }),
    ])
    expect(merged.shadowed).toMatchObject([{ upstream: 'b', by: 'a', reachableAs: null }])
  })

  test('takes the first of two components that one server gave the same name, and says nothing', () => {
    const twice = offering('tools', 't', 't')
    expect(mergeCatalogs([view('a', { catalog: twice })]).listed.tools).toHaveLength(1)
    const merged = mergeCatalogs([
      view('z', { prefix: 'a', catalog: offering('tools', 't') }),
      view('b', { prefix: 'a', catalog: twice }),
    ])
    expect(merged.shadowed).toMatchObject([{ upstream: 'b', reachableAs: 'b__t' }])
  })

  test('treats resources and templates the same way, under qualified URIs', () => {
    for (const kind of ['resources', 'resourceTemplates'] as const) {
      const views = ['a', 'b'].map(name =>
        view(name, { prefix: 'p', catalog: offering(kind, 'demo://x/{id}') }),
      )
      const merged = mergeCatalogs(views)
      expect(merged.shadowed).toEqual([
        { kind, key: 'demo://p~/x/{id}', upstream: 'b', by: 'a', reachableAs: 'demo://b~/x/{id}' },
      ])
      expect(merged.byKey[kind].get('demo://b~/x/{id}')?.upstream).toBe('b')
      expect(merged.listed[kind]).toHaveLength(1)
    }
  })

  test('keeps what is known of a list that is stale or failed', () => {
    const items = [component('tools', 't')]
    const stale = { ...EMPTY_CATALOG, tools: { state: 'stale', items, fetchedAt: 0 } } as const
    const failed = { ...EMPTY_CATALOG, tools: { state: 'failed', reason: 'x', items } } as const
    for (const catalog of [stale, failed]) {
      expect(mergeCatalogs([view('a', { catalog })]).listed.tools.map(entry => entry.key)).toEqual(['a__t'])
    }
  })

  test('and one of a single server are frozen', () => {
    const views = ['a', 'b'].map(name => view(name, { prefix: 'x', catalog: offering('tools', 't') }))
    const alone = scopeToServer(view('a', { catalog: offering('tools', 't') }))
    for (const merged of [mergeCatalogs(views), alone]) {
      expect(Object.isFrozen(merged)).toBe(true)
      expect([merged.listed, merged.byKey, merged.shadowed].map(Object.isFrozen)).toEqual([true, true, true])
      expect(merged.shadowed.every(Object.isFrozen)).toBe(true)
      expect(merged.listed.tools.every(Object.isFrozen)).toBe(true)
    }
  })

  test('of one server never speaks for another with an equal list', () => {
    const catalog = offering('tools', 't')
    const owners = ['a', 'b'].map(name => scopeToServer(view(name, { catalog })).listed.tools[0]?.upstream)
    expect(owners).toEqual(['a', 'b'])
    const again = view('a', { catalog })
    expect(scopeToServer(again)).toBe(scopeToServer(again))
  })
})

function shapeOf(views: readonly UpstreamView[]) {
  const { listed, byKey, shadowed } = mergeCatalogs(views)
  return {
    listed: KINDS.map(kind => listed[kind].map(entry => `${entry.key}@${entry.upstream}`)),
    byKey: KINDS.map(kind => [...byKey[kind]].map(([key, entry]) => `${key}@${entry.upstream}`)),
    shadowed,
  }
}

describe('what is missing from a list', () => {
  const missing = (kind: 'tools' | 'prompts', ...views: UpstreamView[]) =>
    missingFor(
      {
        version: 1,
        upstreams: new Map(views.map(each => [each.name, each])),
        catalog: mergeCatalogs(views),
      },
      kind,
      { kind: 'all' },
    ).map(found => [found.view.name, found.stale])

  test('does not name a server that sleeps with a known list, but one that was never asked', () => {
    const known = view('a', { state: 'idle', catalog: offering('tools', 't') })
    expect(missing('tools', known, view('b', { state: 'idle' }))).toEqual([['b', false]])
    expect(missing('prompts', known)).toEqual([['a', false]])
  })

  test('names every server when all are down, each once', () => {
    const views = ['a', 'b', 'c'].map(name => view(name, { state: 'backoff' }))
    expect(missing('tools', ...views)).toEqual([
      ['a', false],
      ['b', false],
      ['c', false],
    ])
  })
})

describe('a public name', () => {
  test('of a prefix with underscores is as valid as any', () => {
    fc.assert(
      fc.property(prefixes, fc.string(), (prefix, native) => {
        expect(publicName(prefix, native)).toMatch(/^[A-Za-z0-9_.-]{1,64}$/)
      }),
    )
  })

  test('is the same after a restart', () => {
    expect(publicName('a', 'get data')).toBe('a__get_data_8ac787d8')
  })
})

describe('merged instructions', () => {
  test('keep to their bound in all, and cut no character in two', () => {
    const many = Array.from({ length: 3_000 }, (_, i) => view(`s${i}`, { instructions: 'y' }))
    expect(mergeInstructions(many).length).toBeLessThanOrEqual(16_000)
    const emoji = mergeInstructions([view('a', { instructions: `${'x'.repeat(1_998)}😀😀` })])
    expect(emoji).not.toMatch(/\p{Surrogate}/u)
  })
})
