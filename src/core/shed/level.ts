/** 0 = normal; each level does what the ones below it do, and more. */
export type LoadLevel = 0 | 1 | 2 | 3

/** One measurement. */
export interface Pressure {
  /** Used heap, as a share of its limit. */
  readonly heap: number
  /** How late the event loop was, in milliseconds: 99 % of its turns were better. */
  readonly loopDelayMs: number
  /** Open descriptors, as a share of their limit; null where the machine does not tell. */
  readonly fds: number | null
}

export interface LoadState {
  readonly level: LoadLevel
  /** What the lateness of the loop alone called for last time. */
  readonly late: LoadLevel
  /** Measurements in a row that called for less. */
  readonly calm: number
}

export const CALM: LoadState = { level: 0, late: 0, calm: 0 }

/** From which share of heap or descriptors on. */
const SHARES = [0.85, 0.92, 0.97]
/** From which lateness on; closing streams would not make the loop faster, so there is no third. */
const DELAYS_MS = [200, 1_000]

/** A level is left only when things are better than what led to it, and stay so for a while. */
const SHARE_MARGIN = 0.05
const DELAY_FACTOR = 0.5
const CALM_SAMPLES = 4

/**
 * The next state. Up at once, as far as it takes; down one level at a time, when it was calm for long enough. Lateness
 * counts when it is seen twice in a row: one long stall (a suspended process, a collection) is over when it is noticed.
 */
export function judge(state: LoadState, pressure: Pressure): LoadState {
  const late = levelOf(pressure.loopDelayMs, DELAYS_MS)
  const full = levelOf(Math.max(pressure.heap, pressure.fds ?? 0), SHARES)
  const wanted = Math.max(full, Math.min(late, state.late)) as LoadLevel
  if (wanted > state.level) return { level: wanted, late, calm: 0 }
  if (state.level === 0) return late === state.late ? state : { ...state, late }
  if (!isBetter(pressure, state.level)) return { level: state.level, late, calm: 0 }
  if (state.calm + 1 < CALM_SAMPLES) return { level: state.level, late, calm: state.calm + 1 }
  return { level: (state.level - 1) as LoadLevel, late, calm: 0 }
}

function levelOf(value: number, steps: readonly number[]): LoadLevel {
  let level = 0
  while (level < steps.length && value >= (steps[level] ?? Number.POSITIVE_INFINITY)) level += 1
  return level as LoadLevel
}

/** Whether the measurement is clearly below what `level` starts at. */
function isBetter({ heap, fds, loopDelayMs }: Pressure, level: LoadLevel): boolean {
  const share = (SHARES[level - 1] ?? 1) - SHARE_MARGIN
  const delay = (DELAYS_MS[level - 1] ?? Number.POSITIVE_INFINITY) * DELAY_FACTOR
  return heap < share && (fds ?? 0) < share && loopDelayMs < delay
}
