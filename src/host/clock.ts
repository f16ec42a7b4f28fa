import { LIMITS } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

export const nodeClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after: (ms, fn) => {
    // NaN and delays beyond the largest one would make Node fire at once.
    const timer = setTimeout(fn, Math.min(Math.max(0, ms || 0), LIMITS.timerMs))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}
