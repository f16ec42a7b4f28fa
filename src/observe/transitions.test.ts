import { expect, test } from 'vitest'
import { view } from '../../test/kit/views.js'
import { Store } from '../runtime/store.js'
import { TransitionLog } from './transitions.js'

test('a server that was removed and comes back is told of again', () => {
  const lines: string[] = []
  const log = new TransitionLog(({ upstream, message }) => lines.push(`${upstream} ${message}`))
  const store = new Store()
  store.onCommit((snapshot, _previous, changed) => log.observe(snapshot, changed))
  const commit = (...names: string[]) =>
    store.commitViews(new Map(names.map(name => [name, view(name, { state: 'disabled' })])))
  for (const names of [
    ['a', 'b'],
    ['a', 'b'],
    ['b', 'c'],
    ['a', 'b'],
  ])
    commit(...names)
  expect(lines).toEqual(['a disabled', 'b disabled', 'c disabled', 'a disabled'])
})

test('a name that is hidden, is free, and is hidden again is told of again', () => {
  const lines: string[] = []
  const log = new TransitionLog(({ message }) => lines.push(message))
  const hidden = { kind: 'tools', key: 'x', upstream: 'b', by: 'a', reachableAs: null } as const
  for (const entries of [[hidden], [hidden], [], [hidden]]) log.shadowed(entries)
  expect(lines).toHaveLength(2)
})
