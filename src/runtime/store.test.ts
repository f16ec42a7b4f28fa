import { describe, expect, test } from 'vitest'
import { view } from '../../test/kit/views.js'
import type { Snapshot } from '../model/index.js'
import { Store } from './store.js'

function world() {
  const store = new Store()
  const told: { version: number; from: number; changed: string[] }[] = []
  store.onCommit(({ version }, previous, changed) =>
    told.push({ version, from: previous.version, changed: [...changed].sort() }),
  )
  const states = ({ upstreams }: Snapshot) =>
    [...upstreams.values()].map(({ name, state }) => `${name} ${state}`)
  return { store, told, states }
}

describe('a store', () => {
  test('tells which views changed, and which are gone', () => {
    const { store, told } = world()
    const [a, b] = [view('a'), view('b')]
    store.commitViews(
      new Map([
        ['a', a],
        ['b', b],
      ]),
    )
    store.commitView(view('a'))
    store.commitViews(new Map([['b', b]]))
    expect(told.map(({ changed }) => changed)).toEqual([['a', 'b'], ['a'], ['a']])
  })

  test('that holds tells nobody, is read as it is, and tells all at once', () => {
    const { store, told, states } = world()
    store.commitView(view('a'))
    const release = store.hold()
    store.commitView(view('a', { state: 'starting' }))
    store.commitView(view('b', { state: 'starting' }))
    expect(store.viewOf('b')?.state).toBe('starting')
    expect(states(store.current)).toEqual(['a starting', 'b starting'])
    store.commitView(view('b', { state: 'ready' }))
    expect(told).toHaveLength(1)
    release()
    expect(told).toEqual([
      { version: 1, from: 0, changed: ['a'] },
      { version: 3, from: 1, changed: ['a', 'b'] },
    ])
    expect(states(store.current)).toEqual(['a starting', 'b ready'])
    release()
    store.commitView(view('a', { state: 'ready' }))
    expect(told.at(-1)).toEqual({ version: 4, from: 3, changed: ['a'] })
  })

  test('that held while nothing changed tells nothing', () => {
    const { store, told } = world()
    store.hold()()
    expect(told).toEqual([])
  })

  test('in which servers come in another order merges their lists anew', () => {
    const { store } = world()
    const [a, b] = [view('a'), view('b')]
    store.commitViews(
      new Map([
        ['a', a],
        ['b', b],
      ]),
    )
    const before = store.current.catalog
    store.commitViews(
      new Map([
        ['a', a],
        ['b', b],
      ]),
    )
    expect(store.current.catalog).toBe(before)
    store.commitViews(
      new Map([
        ['b', b],
        ['a', a],
      ]),
    )
    expect(store.current.catalog).not.toBe(before)
  })
})
