const UNITS = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
])
const DAY_MS = 24 * 3_600_000

/** Node's timers end a little later; beyond, they fire at once. */
export const LONGEST_MS = 24 * DAY_MS

export const DURATION_FORM = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$/

/** "500ms", "5s", "2m", "1h", or a number of milliseconds; undefined for anything else. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  const match = typeof value === 'string' ? DURATION_FORM.exec(value) : null
  if (!match) return undefined
  const duration = Number(match[1]) * (UNITS.get(match[2] ?? '') ?? Number.NaN)
  return Number.isFinite(duration) ? duration : undefined
}
