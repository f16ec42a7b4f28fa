import { expect, test } from 'vitest'
import { parentsOf } from './index.js'

test('a URI is a part of what its segments, its query and its fragment stand behind, the nearest first', () => {
  expect(parentsOf('notes://7/title').slice(0, 2)).toEqual(['notes://7/', 'notes://7'])
  expect(parentsOf('a://b?c#d').slice(0, 4)).toEqual(['a://b?c#', 'a://b?c', 'a://b?', 'a://b'])
  expect(parentsOf('a://b/')[0]).toBe('a://b')
  expect(parentsOf('plain')).toEqual([])
  expect(parentsOf(`a:${'/'.repeat(10_000)}`).length).toBeLessThanOrEqual(65)
})
