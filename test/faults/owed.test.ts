import { describe, expect, test } from 'vitest'
import { sourceFiles } from '../kit/sources.js'
import { OWED } from './owed.js'

describe('what the fault rows wait for', () => {
  test('is the title of a row', () => {
    const titles = sourceFiles('test/faults').flatMap(({ text }) =>
      [...text.matchAll(/\bfaultRow\(\s*'([^']+)',\s*'([^']+)'/g)].map(([, id, title]) => `${id} ${title}`),
    )
    expect(Object.keys(OWED).filter(key => !titles.includes(key))).toEqual([])
  })
})
