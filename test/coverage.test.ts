import { describe, expect, test } from 'vitest'
import { blank, testFiles } from './kit/sources.js'
import { REQUIREMENTS } from './requirements.js'

/** Ids in `verifies([...])` and `faultRow(...)` of every test file; comments do not count. */
function citations(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const { path, text } of testFiles()) {
    const code = blank(text, { strings: false })
    for (const [, list = ''] of code.matchAll(/\bverifies\(\s*\[([^\]]*)\]/g)) {
      for (const [, id = ''] of list.matchAll(/['"]([^'"]+)['"]/g))
        found.set(id, [...(found.get(id) ?? []), path])
    }
    for (const [, id = ''] of code.matchAll(/\bfaultRow\(\s*'([^']+)'/g))
      found.set(id, [...(found.get(id) ?? []), path])
  }
  return found
}

describe('the requirements manifest', () => {
  const cited = citations()

  test('has no id twice', () => {
    const ids = REQUIREMENTS.map(({ id }) => id)
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([])
  })

  test('has a test for every requirement that is not owed', () => {
    const missing = REQUIREMENTS.filter(({ id, owed }) => !owed && !cited.has(id))
    expect(missing.map(({ id, behaviour }) => `${id}: ${behaviour}`)).toEqual([])
  })

  test('knows every id that a test cites', () => {
    const known = new Set(REQUIREMENTS.map(({ id }) => id))
    const unknown = [...cited].filter(([id]) => !known.has(id))
    expect(unknown.map(([id, paths]) => `${id} in ${paths.join(', ')}`)).toEqual([])
  })

  test('has no owed requirement with a test: take the mark away', () => {
    const stale = REQUIREMENTS.filter(({ id, owed }) => owed && cited.has(id))
    expect(stale.map(({ id }) => `${id} in ${cited.get(id)?.join(', ')}`)).toEqual([])
  })

  test('is cited by calls of verifies, not by comments', () => {
    const inComments = testFiles().filter(({ text }) => /\/\/\s*verifies\s*:/i.test(text))
    expect(inComments.map(({ path }) => path)).toEqual([])
  })
})
