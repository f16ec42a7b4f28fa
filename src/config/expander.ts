import type { Path } from './faults.js'
import { describeProblem, expand, type Values } from './interpolate.js'

export type Report = (path: Path, message: string, fix: string) => void

/** The text with its variables filled in; null when that failed, which then has been reported. */
export type Expander = (path: Path, text: string) => string | null

export function makeExpander(values: Values, report: Report): Expander {
  return (path, text) => {
    const { text: expanded, problems } = expand(text, values)
    for (const problem of problems) {
      const { message, fix } = describeProblem(problem)
      report(path, message, fix)
    }
    if (problems.length > 0) return null
    if (!expanded.includes('\0')) return expanded
    report(path, 'holds a NUL character', 'remove it')
    return null
  }
}
