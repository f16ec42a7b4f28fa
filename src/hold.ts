const BEAT_MS = 2 ** 30

/**
 * Keeps the process alive while somebody waits for `work`. The timers of the gateway do not: an idle gateway must not
 * keep a program from ending, but a call that it waits for must not be lost with it either.
 */
export async function holdProcess<T>(work: Promise<T>): Promise<T> {
  const beat = setInterval(() => undefined, BEAT_MS)
  try {
    return await work
  } finally {
    clearInterval(beat)
  }
}
