import { setTimeout as delay } from 'node:timers/promises'

/** How long tests wait for what happens within milliseconds on a machine with nothing else to do. No claim about time. */
export const PATIENCE_MS = 20_000

/** Resolves as soon as it holds; rejects with the words for it otherwise. Unlike `expect.poll`, also in concurrent tests. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Not in ${withinMs} ms: ${what}`)
    await delay(5)
  }
}
