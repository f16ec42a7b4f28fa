import { describe, expect, test } from 'vitest'
import { loadSimulator } from './load.mjs'
import { MUTATIONS, type Mutation } from './mutations.js'

/** Of these at least one must show the fault. */
const SEEDS = 100

async function findBy({
  file,
  find,
  replace,
  breaks,
}: Mutation): Promise<{ places: number; seed: number | null }> {
  let places = 0
  const change = (code: string) => {
    places += code.split(find).length - 1
    return code.replace(find, () => replace)
  }
  const mutant = await loadSimulator([{ file, change }])
  try {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { violations } = await mutant.simulate({ seed })
      if (violations.some(({ promise }) => promise === breaks)) return { places, seed }
    }
    return { places, seed: null }
  } finally {
    await mutant.close()
  }
}

describe('the checker notices', () => {
  test.each(MUTATIONS)(
    'that $title',
    async mutation => {
      const { places, seed } = await findBy(mutation)
      expect(places, `${mutation.file} does not hold the text to replace exactly once`).toBe(1)
      expect(seed, `no seed up to ${SEEDS} broke ${mutation.breaks}`).not.toBeNull()
    },
    120_000,
  )
})
