import type { ComponentFilter } from '../../model/index.js'

/** Deny beats allow; without an allow list everything that is not denied is allowed. */
export function allows(filter: ComponentFilter, name: string): boolean {
  if (filter.deny?.some(pattern => matchesGlob(pattern, name))) return false
  return filter.allow === undefined || filter.allow.some(pattern => matchesGlob(pattern, name))
}

/** `*` takes any run, `?` one character, everything else itself. Greedy with one fallback point, so never exponential. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let resume = 0
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p
      resume = t
      p += 1
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p += 1
      t += 1
    } else if (star >= 0) {
      p = star + 1
      resume += 1
      t = resume
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p += 1
  return p === pattern.length
}
