import { canonicalMembers } from './canonical.js'
import { revealInvisibles } from './invisible.js'
import { publicName } from './names.js'

/** What of a tool or prompt decides how a model uses it: whoever changes one of these changes the tool. */
const PINNED = [
  'name',
  'title',
  'description',
  'inputSchema',
  'outputSchema',
  'arguments',
  'annotations',
  'icons',
] as const

/** The members of one definition that are pinned, each in canonical form. */
export type Definition = ReadonlyMap<string, string>

/** @param text the JSON object of a tool or prompt */
export function definitionOf(text: string): Definition {
  const members = canonicalMembers(text)
  const found = new Map<string, string>()
  for (const member of PINNED) {
    // A repeated key counts with all its values: readers differ in which they take.
    const values = members.filter(([key]) => key === member).map(([, value]) => value)
    if (values.length > 0) found.set(member, values.join(','))
  }
  return found
}

/** The one text of a definition: two with the same are the same. */
export function canonicalDefinition(definition: Definition): string {
  return `{${[...definition].map(([member, value]) => `${JSON.stringify(member)}:${value}`).join(',')}}`
}

/** One member that is not as it was pinned; null = it is not there. */
export interface Difference {
  readonly member: string
  readonly before: string | null
  readonly after: string | null
}

export function differencesBetween(before: Definition, after: Definition): readonly Difference[] {
  return PINNED.flatMap(member => {
    const [old = null, now = null] = [before.get(member), after.get(member)]
    return old === now ? [] : [{ member, before: old, after: now }]
  })
}

/** Characters of each side that are shown before and after the first that differs. */
const LEAD = 24
const TAIL = 96

/** `description: "…reads a file" → "…reads a file and sends it"`, invisible characters written out. */
export function describeDifferences(differences: readonly Difference[]): string {
  return differences
    .map(({ member, before, after }) => {
      const [old, now] = [textOf(before), textOf(after)]
      const from = Math.max(0, firstDifference(old, now) - LEAD)
      return `${member}: ${excerpt(before, old, from)} → ${excerpt(after, now, from)}`
    })
    .join('; ')
}

/** A string as its characters, anything else as JSON. */
function textOf(canonical: string | null): string {
  if (canonical === null) return ''
  try {
    const value: unknown = JSON.parse(canonical)
    return typeof value === 'string' ? value : canonical
  } catch {
    return canonical
  }
}

function firstDifference(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length)
  for (let at = 0; at < shorter; at += 1) if (a[at] !== b[at]) return at
  return shorter
}

function excerpt(canonical: string | null, text: string, from: number): string {
  if (canonical === null) return '(none)'
  const part = text.slice(from, from + LEAD + TAIL)
  const cut = `${from > 0 ? '…' : ''}${part}${from + part.length < text.length ? '…' : ''}`
  return JSON.stringify(revealInvisibles(whole(cut)))
}

/** Without halves of characters at its ends. */
function whole(text: string): string {
  return text.replace(/^(…?)[\uDC00-\uDFFF]/, '$1').replace(/[\uD800-\uDBFF](…?)$/, '$1')
}

/** What a person may paste into a shell: the name comes from the server, and may be made to do more than name a tool. */
export function approvalCommand(upstream: string, prefix: string, key: string): string {
  const harmless = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/
  const name = [key, publicName(prefix, key)].find(text => harmless.test(text))
  return name === undefined ? `holdfast status ${upstream}` : `holdfast approve ${upstream} ${name}`
}
