import { test } from 'vitest'

/**
 * A test that stands for requirements of test/requirements.ts. Write the ids as literals: the coverage test reads
 * them from the source.
 */
export function verifies(
  ids: readonly string[],
  title: string,
  body: () => unknown,
  timeoutMs?: number,
): void {
  test(`[${ids.join(' ')}] ${title}`, async () => void (await body()), timeoutMs)
}
