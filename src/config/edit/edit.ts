import { isDeepStrictEqual } from 'node:util'
import { type Dialect, parseText } from '../parse.js'
import { withoutPrototypes } from '../parsed.js'
import { isObject } from '../types.js'
import type { Change, Writer } from './change.js'
import { writeJson } from './edit-json.js'
import { writeToml } from './edit-toml.js'
import { rewriteYaml, writeYaml } from './edit-yaml.js'

/** The first one that gets it right writes it. */
const WRITERS: Readonly<Record<Dialect, readonly Writer[]>> = {
  json: [writeJson],
  yaml: [writeYaml, rewriteYaml],
  toml: [writeToml],
}

/**
 * The text with all changes, comments and formatting kept; null where that cannot be done safely. Whatever a writer
 * did, its text is read again and must mean what was asked for, and nothing else.
 */
export function editText(text: string, dialect: Dialect, changes: readonly Change[]): string | null {
  const mark = text.startsWith('\uFEFF') ? '\uFEFF' : ''
  const windows = text.includes('\r\n') && !/(?<!\r)\n/.test(text)
  let current = text.slice(mark.length)
  if (windows) current = current.replaceAll('\r\n', '\n')
  if (dialect === 'json' && current.trim() === '') current = '{}\n'
  for (const change of changes) {
    const next = writeOne(current, dialect, change)
    if (next === null) return null
    current = next
  }
  return mark + (windows ? current.replaceAll('\n', '\r\n') : current)
}

function writeOne(text: string, dialect: Dialect, change: Change): string | null {
  const wanted = apply(parseText(text, dialect).value ?? {}, change)
  for (const write of WRITERS[dialect]) {
    const written = write(text, change)
    if (written === null) continue
    const { value, faults } = parseText(written, dialect)
    if (faults.length === 0 && isDeepStrictEqual(value, wanted)) return written
  }
  return null
}

/** The same change to plain data. */
function apply(data: unknown, { path, value }: Change): unknown {
  const [key, ...rest] = path
  if (key === undefined) return withoutPrototypes(value)
  const copy: Record<string, unknown> = Object.assign(Object.create(null), isObject(data) ? data : {})
  if (rest.length > 0) copy[key] = apply(copy[key], { path: rest, value })
  else if (value === undefined) delete copy[key]
  else copy[key] = withoutPrototypes(value)
  return copy
}
