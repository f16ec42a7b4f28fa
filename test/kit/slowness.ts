import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'vitest'

const run = promisify(execFile)
/** What an empty program takes at most on a machine that has nothing else to do, with some room. */
const EMPTY_MS = 150

/** How much longer than that this machine takes for one at the moment; at least 1. For bounds on the time of a start. */
export async function slowness(): Promise<number> {
  const started = performance.now()
  await run(process.execPath, ['-e', ''])
  return Math.max(1, (performance.now() - started) / EMPTY_MS)
}

/** The quickest of up to five starts, as on a machine that has nothing else to do; one slow start may be the machine's. */
export async function quickestStart(start: () => Promise<number>, enoughMs: number): Promise<number> {
  let quickest = Number.POSITIVE_INFINITY
  for (let tries = 0; tries < 5 && quickest >= enoughMs; tries += 1) {
    const before = await slowness()
    const ms = await start()
    quickest = Math.min(quickest, ms / Math.max(before, await slowness()))
  }
  return quickest
}

/** Took less than that, or would have on a machine that has nothing else to do; that is looked at only if it did not. */
export async function expectWithin(ms: number, boundMs: number): Promise<void> {
  if (ms >= boundMs) expect(ms / (await slowness()), `took ${ms} ms`).toBeLessThan(boundMs)
}

/** The result of work that took less than that; see `expectWithin`. */
export async function within<T>(boundMs: number, work: Promise<T>): Promise<T> {
  const started = performance.now()
  const result = await work
  await expectWithin(performance.now() - started, boundMs)
  return result
}
