import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FairQueue } from './index.js'

test('a queue serves each principal in turn, and each in order', () => {
  const queue = new FairQueue<string>(10)
  for (const entry of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(entry.charAt(0), entry)
  const served: (string | undefined)[] = []
  while (queue.size > 0) served.push(queue.shift())
  expect(served).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'a3'])
  expect(queue.shift()).toBeUndefined()
})

test('a queue takes no more than its bound, and forgets who left', () => {
  const queue = new FairQueue<number>(2)
  expect([queue.push('a', 1), queue.push('b', 2), queue.push('c', 3)]).toEqual([true, true, false])
  expect([queue.remove('a', 1), queue.remove('a', 1), queue.remove('b', 9)]).toEqual([true, false, false])
  expect([queue.push('c', 3), queue.shift(), queue.shift(), queue.size]).toEqual([true, 2, 3, 0])
  queue.push('a', 4)
  expect([queue.clear(), queue.size]).toEqual([[4], 0])
})

test('nothing is lost and nothing served twice', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean())), steps => {
      const queue = new FairQueue<number>(1_000)
      const pushed: number[] = []
      const served: number[] = []
      steps.forEach(([principal, push], i) => {
        if (push) pushed.push(i)
        if (push) queue.push(principal, i)
        else served.push(...[queue.shift()].filter(entry => entry !== undefined))
      })
      served.push(...queue.clear())
      expect(served.sort((a, b) => a - b)).toEqual(pushed)
    }),
  )
})
