import type { Path } from '../faults.js'
import { toml } from '../parsers.js'
import { type Change, nest, type Writer } from './change.js'

/**
 * The library cannot keep comments, so tables are added and cut as lines. A line inside a long string may look like the
 * head of a table; the check of the result finds out.
 */
const HEAD = /^\s*\[([^[\]]+)\]\s*(?:#.*)?$/
const WORD = /"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+/g

interface Section {
  readonly path: readonly string[]
  readonly start: number
  /** Behind its last line that is neither empty nor a comment: what follows belongs to the next table. */
  readonly end: number
}

export const writeToml: Writer = (text, { path, value }: Change) => {
  const lines = text.split('\n')
  const sections = sectionsOf(lines)
  if (value === undefined) return cutTables(lines, sections, path)
  return path.length <= 2 ? addTable(text, path, value) : setKey(lines, sections, path, value)
}

/** The names in the head of a table; undefined for another line. */
export function headOf(line: string): string[] | undefined {
  const head = HEAD.exec(line)?.[1]
  return head?.match(WORD)?.map(word => word.replace(/^(["'])(.*)\1$/, '$2'))
}

function sectionsOf(lines: readonly string[]): Section[] {
  const heads = lines.flatMap((line, start) => {
    const path = headOf(line)
    return path ? [{ path, start }] : []
  })
  return heads.map(({ path, start }, index) => {
    let end = heads[index + 1]?.start ?? lines.length
    while (end > start + 1 && /^\s*(#.*)?$/.test(lines[end - 1] ?? '')) end -= 1
    return { path, start, end }
  })
}

function isUnder(section: Section, path: Path): boolean {
  return path.every((key, depth) => section.path[depth] === key)
}

function cutTables(lines: readonly string[], sections: readonly Section[], path: Path): string | null {
  const mine = sections.filter(section => isUnder(section, path))
  if (mine.length === 0) return null
  const gone = new Set<number>()
  for (const { start, end } of mine) {
    for (let line = start; line < end; line += 1) gone.add(line)
    // One of the empty lines around it goes with it.
    if (lines[end]?.trim() === '' && end < lines.length - 1) gone.add(end)
  }
  return lines.filter((_, index) => !gone.has(index)).join('\n')
}

function addTable(text: string, path: Path, value: unknown): string {
  const gap = text.trim() === '' ? '' : text.endsWith('\n') ? '\n' : '\n\n'
  return `${text}${gap}${toml().stringify(nest(path, value))}`
}

function setKey(
  lines: readonly string[],
  sections: readonly Section[],
  path: Path,
  value: unknown,
): string | null {
  const [key, table] = [String(path.at(-1)), path.slice(0, -1)]
  const written = `${key} = ${JSON.stringify(value)}`
  const own = sections.find(section => section.path.length === table.length && isUnder(section, table))
  if (!own) {
    const parents = sections.filter(section => isUnder(section, path.slice(0, 2)))
    const end = parents.at(-1)?.end
    return end === undefined
      ? null
      : lines.toSpliced(end, 0, '', `[${table.map(bareOrQuoted).join('.')}]`, written).join('\n')
  }
  for (let line = own.start + 1; line < own.end; line += 1) {
    const match = /^(\s*)([A-Za-z0-9_-]+)\s*=\s*(?:true|false)(\s*(?:#.*)?)$/.exec(lines[line] ?? '')
    if (match?.[2] === key) return lines.with(line, `${match[1]}${written}${match[3]}`).join('\n')
  }
  return lines.toSpliced(own.end, 0, written).join('\n')
}

function bareOrQuoted(key: string | number): string {
  return /^[A-Za-z0-9_-]+$/.test(String(key)) ? String(key) : JSON.stringify(key)
}
