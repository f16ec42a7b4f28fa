import { setTimeout as delay } from 'node:timers/promises'

/** Resolves as soon as it holds; rejects with the words for it otherwise. Unlike `expect.poll`, also in concurrent tests. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 5_000,
): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Not in ${withinMs} ms: ${what}`)
    await delay(5)
  }
}
