import type { Clock } from '../../src/runtime/ports.js'

export interface VirtualClock extends Clock {
  pass(ms: number): Promise<void>
  /** The wall clock goes so far ahead of the monotonic one, or falls behind. */
  jump(ms: number): void
  /** Timers that are armed. */
  readonly armed: number
}

/** Time that moves only when told. */
export function virtualClock(): VirtualClock {
  let now = 0
  let ahead = 0
  let timers: { at: number; fn: () => void }[] = []
  return {
    get armed() {
      return timers.length
    },
    now: () => now,
    wallTime: () => now + ahead,
    jump: ms => {
      ahead += ms
    },
    after: (ms: number, fn: () => void) => {
      const timer = { at: now + ms, fn }
      timers.push(timer)
      return {
        cancel: () => {
          timers = timers.filter(each => each !== timer)
        },
      }
    },
    /** Runs what falls due, with a turn of the real loop after each. */
    async pass(ms: number) {
      const end = now + ms
      for (;;) {
        await new Promise(resolve => setImmediate(resolve))
        const [next] = timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)
        if (!next) break
        timers = timers.filter(timer => timer !== next)
        now = Math.max(now, next.at)
        next.fn()
      }
      now = end
    },
  }
}
