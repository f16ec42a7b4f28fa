import { describe, expect, test } from 'vitest'
import { offering, view } from '../../../test/kit/views.js'
import { EMPTY_CATALOG, type Scope, type UpstreamView } from '../../model/index.js'
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

describe('a tool', () => {
  test('is found by registry under its native name', () => {
    const views = [view('a', { catalog: offering('tools', 'get data') })]
    expect(look(views, tool(publicName('a', 'get data')))).toMatchObject({
      kind: 'found',
      upstream: 'a',
      native: 'get data',
    })
  })

  test('whose name holds the separator is not split', () => {
    const views = [
      view('a', { catalog: offering('tools', 'b__c') }),
      view('a__b', { prefix: '', catalog: offering('tools', 'x') }),
    ]
    expect(look(views, tool('a__b__c'))).toMatchObject({ kind: 'found', upstream: 'a', native: 'b__c' })
  })

  test('stays with its owner while that is down', () => {
    const views = [
      view('a', { prefix: '', state: 'backoff', catalog: offering('tools', 't') }),
      view('b', { prefix: '', catalog: offering('tools', 't') }),
    ]
    expect(look(views, tool('t'))).toMatchObject({ kind: 'found', upstream: 'a' })
  })

  test('that nobody lists is unknown when everybody was asked', () => {
    expect(look([view('a', { catalog: offering('tools', 't') })], tool('a__u'))).toEqual({ kind: 'unknown' })
  })

  test('that nobody lists may belong to a server that is starting or down, if its prefix fits', () => {
    const views = [
      view('a', { state: 'starting', settled: false }),
      view('b', { prefix: 'a', state: 'backoff' }),
      view('c', { state: 'backoff' }),
      view('d', { prefix: 'a', state: 'disabled' }),
      view('e', { prefix: 'a', catalog: offering('tools', 't') }),
    ]
    expect(look(views, tool('a__u'))).toEqual({ kind: 'undecided', pending: ['a'], unavailable: ['b'] })
    expect(look(views, tool('a__t'))).toMatchObject({ kind: 'found', upstream: 'e' })
  })

  test('of one server is found under its own name, and nowhere else', () => {
    const views = [
      view('a', { catalog: offering('tools', 't') }),
      view('b', { catalog: offering('tools', 'u') }),
    ]
    expect(look(views, tool('t'), { kind: 'server', name: 'a' })).toMatchObject({
      kind: 'found',
      upstream: 'a',
      native: 't',
    })
    expect(look(views, tool('u'), { kind: 'server', name: 'a' })).toEqual({ kind: 'unknown' })
    expect(look(views, { kind: 'server' }, { kind: 'server', name: 'b' })).toMatchObject({
      kind: 'found',
      upstream: 'b',
    })
    expect(look(views, { kind: 'server' })).toEqual({ kind: 'unknown' })
  })
})

describe('a resource', () => {
  const listed = view('a', { catalog: offering('resources', 'demo://x/1', 'https://e.com/1') })

  test('is found by its public URI, by a web address, and by a bare URI that only one server could mean', () => {
    expect(look([listed], resource('demo://a~/x/1'))).toMatchObject({ kind: 'found', native: 'demo://x/1' })
    expect(look([listed], resource('https://e.com/1'))).toMatchObject({
      kind: 'found',
      native: 'https://e.com/1',
    })
    expect(look([listed], resource('demo://x/1'))).toMatchObject({
      kind: 'found',
      upstream: 'a',
      native: 'demo://x/1',
    })
  })

  test('that no list holds is found by the prefix it carries', () => {
    expect(look([listed], resource('demo://a~/other/2'))).toMatchObject({
      kind: 'found',
      native: 'demo://other/2',
    })
  })

  test('is found by a template, under the public and the native URI', () => {
    const views = [view('a', { catalog: offering('resourceTemplates', 'demo://t/{id}') })]
    expect(look(views, resource('demo://a~/t/5'))).toMatchObject({ kind: 'found', native: 'demo://t/5' })
    expect(look(views, resource('demo://t/5'))).toMatchObject({ kind: 'found', native: 'demo://t/5' })
    expect(look(views, { kind: 'ref-resource', uri: 'demo://a~/t/{id}' })).toMatchObject({
      native: 'demo://t/{id}',
    })
  })

  test('that several servers of a shared prefix could own is asked for in config order', () => {
    const views = ['a', 'b'].map(name =>
      view(name, { prefix: 'p', catalog: offering('resources', `demo://${name}`) }),
    )
    expect(look(views, resource('demo://p~/other'))).toEqual({
      kind: 'ask-in-order',
      candidates: [
        { upstream: 'a', native: 'demo://other' },
        { upstream: 'b', native: 'demo://other' },
      ],
    })
  })

  test('of a server that is down since boot is not "unknown"', () => {
    expect(look([view('a', { state: 'backoff' })], resource('demo://a~/x'))).toMatchObject({
      unavailable: ['a'],
    })
  })

  test('is unknown when no server has resources', () => {
    const none = {
      ...EMPTY_CATALOG,
      resources: { state: 'absent' },
      resourceTemplates: { state: 'absent' },
    } as const
    expect(look([view('a', { catalog: none })], resource('demo://x'))).toEqual({ kind: 'unknown' })
  })
})
