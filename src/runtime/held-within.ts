import type { Clock } from './ports.js'

/** Looks every `everyMs` whether something holds; resolves once it does, or after `ms`. */
export async function heldWithin(
  clock: Clock,
  holds: () => boolean,
  ms: number,
  everyMs: number,
): Promise<void> {
  const until = clock.now() + ms
  while (!holds() && clock.now() < until) await new Promise<void>(resolve => clock.after(everyMs, resolve))
}
