import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SPEC } from '../../../test/kit/runtime-world.js'
import type { MisconfiguredSpec, UpstreamSpec } from '../../model/index.js'
import { type Entry, isEmptyPlan, planReload } from './plan.js'
import { sameValue } from './same.js'

const spec = (name: string, part: Partial<UpstreamSpec> = {}): UpstreamSpec => ({
  ...SPEC,
  name,
  prefix: name,
  ...part,
})
const broken = (name: string, problem: string): MisconfiguredSpec => ({ name, prefix: name, problem })
const stdio = (env: Record<string, string>) => ({ kind: 'stdio', command: 'x', args: [], env }) as const

describe('a plan', () => {
  test('tells who comes, goes, is replaced, is changed in place, and stays', () => {
    const plan = planReload(
      [spec('a'), spec('b'), spec('c'), spec('d')],
      [spec('e'), spec('c', { transport: stdio({}) }), spec('d', { cacheTtlMs: 5, prefix: 'x' }), spec('a')],
    )
    expect(plan).toEqual({
      added: ['e'],
      removed: ['b'],
      restarted: ['c'],
      updated: [{ name: 'd', options: ['cacheTtlMs', 'prefix'] }],
      kept: ['a'],
      reordered: true,
    })
  })

  test('of a changed secret concerns its server alone', () => {
    const plan = planReload(
      [spec('a', { transport: stdio({ KEY: '1' }) }), spec('b')],
      [spec('a', { transport: stdio({ KEY: '2' }) }), spec('b')],
    )
    expect(plan).toMatchObject({ restarted: ['a'], kept: ['b'], reordered: false })
  })

  test('is empty for the same values in another writing', () => {
    const one = spec('a', { transport: stdio({ A: '1', B: '2' }), tools: { allow: ['x'] } })
    const two = spec('a', { tools: { allow: ['x'] }, transport: stdio({ B: '2', A: '1' }) })
    expect(isEmptyPlan(planReload([one], [two]))).toBe(true)
  })

  test('keeps an entry that is as wrong as it was, and takes in one that is mended', () => {
    expect(planReload([broken('a', 'no url')], [broken('a', 'no url')]).kept).toEqual(['a'])
    expect(planReload([broken('a', 'no url')], [broken('a', 'no command')]).restarted).toEqual(['a'])
    expect(planReload([broken('a', 'no url')], [spec('a')]).restarted).toEqual(['a'])
    expect(planReload([spec('a')], [broken('a', 'no url')]).restarted).toEqual(['a'])
  })
})

const anySpec = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    cacheTtlMs: fc.constantFrom(0, 5_000),
    era: fc.constantFrom('auto', 'modern'),
    env: fc.dictionary(fc.constantFrom('K', 'L'), fc.constantFrom('1', '2')),
    wrong: fc.boolean(),
  })
  .map(
    ({ name, cacheTtlMs, era, env, wrong }): Entry =>
      wrong ? broken(name, era) : spec(name, { cacheTtlMs, era, transport: stdio(env) }),
  )
const anyConfig = fc.uniqueArray(anySpec, { selector: ({ name }) => name })

test('for any two configs, each name has exactly one place, and a config compared with itself none', () => {
  fc.assert(
    fc.property(anyConfig, anyConfig, (before, after) => {
      const plan = planReload(before, after)
      const placed = [
        ...plan.added,
        ...plan.removed,
        ...plan.restarted,
        ...plan.kept,
        ...plan.updated.map(u => u.name),
      ]
      const names = new Set([...before, ...after].map(({ name }) => name))
      expect([...placed].sort()).toEqual([...names].sort())
      const same = (name: string, entries: readonly Entry[]) => entries.find(entry => entry.name === name)
      for (const name of plan.kept) expect(sameValue(same(name, before), same(name, after))).toBe(true)
      expect(isEmptyPlan(planReload(after, structuredClone(after)))).toBe(true)
    }),
  )
})
