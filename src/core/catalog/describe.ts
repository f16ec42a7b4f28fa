import type { UpstreamView } from '../../model/index.js'

const MAX_EACH = 2_000
const MAX_ALL = 16_000
const SEPARATOR = '\n\n'

/** The instructions of every server that gave some, each under its name, within bounds. */
export function mergeInstructions(views: readonly UpstreamView[]): string {
  const sections: string[] = []
  let left = MAX_ALL
  for (const view of views) {
    const text = view.instructions?.trim()
    if (!text) continue
    const section = `## ${view.name}${prefixNote(view)}\n\n${cut(text, MAX_EACH)}`
    if (section.length > left) break
    left -= section.length + SEPARATOR.length
    sections.push(section)
  }
  return sections.join(SEPARATOR)
}

function prefixNote(view: UpstreamView): string {
  return view.prefix === '' ? '' : ` (names start with ${view.prefix}__)`
}

function cut(text: string, max: number): string {
  if (text.length <= max) return text
  // Never between the two halves of one character.
  return `${text.slice(0, max - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}
