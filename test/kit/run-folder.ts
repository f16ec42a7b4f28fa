import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const VARIABLE = 'HOLDFAST_TEST_RUN'

/**
 * The folder of this test run. Every process that a test starts has it in its command line or environment,
 * so its path is also the mark by which leftovers are found.
 */
export function runFolder(): string {
  const known = process.env[VARIABLE]
  if (known) {
    mkdirSync(known, { recursive: true })
    return known
  }
  const fresh = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
  process.env[VARIABLE] = fresh
  return fresh
}

/** A fresh folder inside the run's folder. */
export function freshFolder(name: string): string {
  return mkdtempSync(join(runFolder(), `${name.replace(/[^a-z0-9]+/gi, '-')}-`))
}
