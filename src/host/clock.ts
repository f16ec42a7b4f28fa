import { LIMITS } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

export const nodeClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after: (ms, fn) => {
    // NaN and delays beyond the largest one would make Node fire at once.
    const delay = Math.min(Math.max(0, ms || 0), LIMITS.timerMs)
    const due = performance.now() + delay
    // Node's timers drop fractions and may fire early: whoever compares with `now` must not see that.
    const fire = () => {
      if (performance.now() >= due) return fn()
      timer = setTimeout(fire, 1)
      timer.unref()
    }
    let timer = setTimeout(fire, delay)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}
