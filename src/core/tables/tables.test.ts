import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IdRing, SmallTable } from './index.js'

describe('an id ring', () => {
  test('behaves as a Map does for ids that count upwards, long-lived ones included', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const) }),
      fc.record({ kind: fc.constant('delete' as const), back: fc.nat(300) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2_000, size: 'max' }), steps => {
        const ring = new IdRing<string>()
        const map = new Map<number, string>()
        let next = 1
        for (const each of steps) {
          if (each.kind === 'set') {
            ring.set(next, `v${next}`)
            map.set(next, `v${next}`)
            next += 1
          } else {
            const id = Math.max(0, next - each.back)
            expect(ring.delete(id)).toBe(map.get(id))
            map.delete(id)
          }
        }
        expect(ring.size).toBe(map.size)
        for (const [id, value] of map) expect(ring.get(id)).toBe(value)
        expect(ring.values().sort()).toEqual([...map.values()].sort())
      }),
      { numRuns: 30 },
    )
  })
})

describe('a small table', () => {
  test('behaves as a Map does', () => {
    const key = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom('a', 'b', '1'))
    const step = fc.record({ kind: fc.constantFrom('set', 'delete'), key, value: fc.nat() })
    fc.assert(
      fc.property(fc.array(step), steps => {
        const table = new SmallTable<number | string, number>()
        const map = new Map<number | string, number>()
        for (const { kind, key, value } of steps) {
          if (kind === 'set') {
            table.set(key, value)
            map.set(key, value)
          } else {
            expect(table.delete(key)).toBe(map.get(key))
            map.delete(key)
          }
        }
        expect(table.size).toBe(map.size)
        for (const [key, value] of map) expect(table.get(key)).toBe(value)
      }),
    )
  })
})
