import { describe, expect, test } from 'vitest'
import { offering, view } from '../../../test/kit/views.js'
import { EMPTY_CATALOG, type Scope, type UpstreamCatalog, type UpstreamView } from '../../model/index.js'
import { mergeCatalogs, publicName } from '../catalog/index.js'
import { resolve, type Target } from './index.js'

const ALL: Scope = { kind: 'all' }
const look = (views: UpstreamView[], target: Target, scope: Scope = ALL) =>
  resolve(
    { version: 1, upstreams: new Map(views.map(each => [each.name, each])), catalog: mergeCatalogs(views) },
    scope,
    target,
  )
const tool = (name: string): Target => ({ kind: 'tool', name })
const resource = (uri: string): Target => ({ kind: 'resource', uri })
const NO_RESOURCES: UpstreamCatalog = {
  ...offering('tools', 't'),
  resources: { state: 'absent' },
  resourceTemplates: { state: 'absent' },
}

describe('a tool during an outage', () => {
  test('of a server that was never reached is not "unknown" under the qualified name either', () => {
    const views = [view('a', { prefix: 'x', catalog: offering('tools', 't') })]
    const down = view('b', { prefix: 'x', state: 'backoff' })
    expect(look([...views, down], tool('b__t'))).toEqual({
      kind: 'undecided',
      pending: [],
      unavailable: ['b'],
    })
    expect(look([...views, down], tool('c__t'))).toEqual({ kind: 'unknown' })
  })

  test('whose prefix had to be cut or cleaned may still belong to the server that was never reached', () => {
    for (const prefix of ['p'.repeat(60), 'My Server']) {
      const name = publicName(prefix, 'read everything')
      expect(look([view('a', { prefix, state: 'backoff' })], tool(name))).toMatchObject({
        unavailable: ['a'],
      })
    }
  })

  test('that is not in a list of an earlier run may be new; once the server was reached or not, it is unknown', () => {
    const { tools } = offering('tools', 't')
    const catalog = { ...EMPTY_CATALOG, tools: { ...tools, state: 'stale' } } as UpstreamCatalog
    const starting = view('a', { state: 'starting', settled: false, catalog })
    expect(look([starting], tool('a__t'))).toMatchObject({ kind: 'found', upstream: 'a' })
    expect(look([starting], tool('a__new'))).toMatchObject({ kind: 'undecided', pending: ['a'] })
    expect(look([{ ...starting, state: 'backoff', settled: true }], tool('a__new'))).toEqual({
      kind: 'unknown',
    })
  })

  test('that is hidden while its server is down is not "unknown"', () => {
    const hidden = view('a', { state: 'backoff', unavailable: 'hide', catalog: offering('tools', 't') })
    expect(look([hidden], tool('a__t'))).toMatchObject({ kind: 'found', upstream: 'a' })
    expect(look([hidden], tool('a__u'))).toEqual({ kind: 'unknown' })
  })

  test('of a server that turned out misconfigured is not "unknown"', () => {
    const broken = view('a', { state: 'misconfigured', catalog: offering('tools', 't') })
    expect(look([broken], tool('a__t'))).toMatchObject({ kind: 'found', upstream: 'a' })
  })

  test('of a server that is back and still being listed is worth a wait; of one whose list failed it is not', () => {
    expect(look([view('a')], tool('a__t'))).toEqual({ kind: 'undecided', pending: ['a'], unavailable: [] })
    const failed = { ...EMPTY_CATALOG, tools: { state: 'failed', reason: 'x', items: [] } } as const
    expect(look([view('a', { catalog: failed })], tool('a__t'))).toEqual({
      kind: 'undecided',
      pending: [],
      unavailable: ['a'],
    })
  })

  test('is looked for at a server that sleeps until first use, and never at a disabled one', () => {
    const views = [view('a', { state: 'idle' }), view('b', { prefix: 'a', state: 'disabled' })]
    expect(look(views, tool('a__t'))).toEqual({ kind: 'undecided', pending: ['a'], unavailable: [] })
  })

  test('without prefix may be anybody’s who has none', () => {
    const views = [view('a', { prefix: '', state: 'backoff' }), view('b', { state: 'backoff' })]
    expect(look(views, tool('t'))).toEqual({ kind: 'undecided', pending: [], unavailable: ['a'] })
  })

  test('is found at the living server of a shared prefix, in either order', () => {
    const dead = view('a', { prefix: 'x', state: 'backoff' })
    const alive = view('b', { prefix: 'x', catalog: offering('tools', 'my_tool') })
    for (const views of [
      [dead, alive],
      [alive, dead],
    ]) {
      expect(look(views, tool('x__my_tool'))).toMatchObject({ kind: 'found', upstream: 'b' })
    }
  })
})

describe('a resource during an outage', () => {
  test('is not asked of a server without prefix when it carries the prefix of one that was never reached', () => {
    const views = [
      view('files', { state: 'backoff' }),
      view('search', { prefix: '', catalog: offering('resources', 'demo://s') }),
    ]
    const down = { kind: 'undecided', pending: [], unavailable: ['files'] }
    expect(look(views, resource('demo://files~/x'))).toEqual(down)
    expect(look([...views].reverse(), resource('demo://files~/x'))).toEqual(down)
    expect(look(views, resource('demo://other~/x'))).toMatchObject({ kind: 'found', upstream: 'search' })
  })

  test('of a shared prefix is asked of the living server', () => {
    const views = [
      view('a', { prefix: 'p', state: 'backoff' }),
      view('b', { prefix: 'p', catalog: offering('resources', 'demo://b') }),
    ]
    expect(look(views, resource('demo://p~/other'))).toMatchObject({
      kind: 'found',
      upstream: 'b',
      native: 'demo://other',
    })
  })

  test('that carries a prefix is no matter of a server with another one', () => {
    const views = [view('a', { catalog: NO_RESOURCES }), view('b', { state: 'backoff' })]
    expect(look(views, resource('demo://a~/x'))).toEqual({ kind: 'unknown' })
    expect(look(views, resource('demo://x'))).toMatchObject({ kind: 'undecided', unavailable: ['b'] })
  })

  test('of a server that turned out misconfigured is not "unknown"', () => {
    const broken = view('a', { state: 'misconfigured', catalog: offering('resources', 'demo://x') })
    expect(look([broken], resource('demo://a~/x'))).toMatchObject({ kind: 'found', upstream: 'a' })
  })

  test('of one server alone stays with it while its lists are stale', () => {
    const stale: UpstreamCatalog = {
      ...EMPTY_CATALOG,
      resourceTemplates: { state: 'stale', items: [], fetchedAt: 0 },
    }
    const views = [view('a', { state: 'backoff', catalog: stale })]
    expect(look(views, resource('demo://any'), { kind: 'server', name: 'a' })).toMatchObject({
      kind: 'found',
      upstream: 'a',
      native: 'demo://any',
    })
  })
})

describe('one server alone', () => {
  const scope: Scope = { kind: 'server', name: 'a' }

  test('is undecided about names while its list is unknown, and never falls to another server', () => {
    const other = view('b', { prefix: '', catalog: offering('tools', 't') })
    expect(look([view('a', { state: 'backoff' }), other], tool('t'), scope)).toEqual({
      kind: 'undecided',
      pending: [],
      unavailable: ['a'],
    })
    expect(look([other], tool('t'), scope)).toEqual({ kind: 'unknown' })
  })

  test('finds prompts and references under their native names', () => {
    const views = [view('a', { catalog: offering('prompts', 'p') })]
    for (const kind of ['prompt', 'ref-prompt'] as const) {
      expect(look(views, { kind, name: 'p' }, scope)).toMatchObject({ kind: 'found', native: 'p' })
    }
  })
})

describe('a bare URI', () => {
  test('that two servers offer is nobody’s, unless one of them shows it so', () => {
    const catalog: UpstreamCatalog = {
      ...offering('resources', 'demo://x'),
      resourceTemplates: { state: 'absent' },
    }
    const a = view('a', { catalog })
    const b = view('b', { catalog: { ...catalog } })
    expect(look([a, b], resource('demo://x'))).toEqual({ kind: 'unknown' })
    expect(look([a, { ...b, prefix: '' }], resource('demo://x'))).toMatchObject({
      kind: 'found',
      upstream: 'b',
    })
  })

  test('that nobody lists is asked of the servers without prefix, in config order', () => {
    const views = ['b', 'a'].map(name =>
      view(name, { prefix: '', catalog: offering('resources', `demo://${name}`) }),
    )
    expect(look(views, resource('demo://z'))).toEqual({
      kind: 'ask-in-order',
      candidates: [
        { upstream: 'b', native: 'demo://z' },
        { upstream: 'a', native: 'demo://z' },
      ],
    })
  })

  test('that a loser of its public URI offers is reached by the qualified one', () => {
    const shared = { prefix: 'p', catalog: offering('resources', 'demo://x') }
    const views = [view('a', shared), view('b', { ...shared, catalog: offering('resources', 'demo://x') })]
    expect(look(views, resource('demo://p~/x'))).toMatchObject({ kind: 'found', upstream: 'a' })
    expect(look(views, resource('demo://b~/x'))).toMatchObject({
      kind: 'found',
      upstream: 'b',
      native: 'demo://x',
    })
    expect(look(views, resource('demo://b~/unlisted'))).toMatchObject({ kind: 'found', upstream: 'b' })
  })
})
