/** Equal as values: the order of an object's keys does not matter, and an absent member equals an undefined one. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameValue(item, b[index]))
  }
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  const [left, right] = [a, b] as [Record<string, unknown>, Record<string, unknown>]
  for (const key of keys) if (!sameValue(left[key], right[key])) return false
  return true
}
