import type { MisconfiguredSpec, UpstreamSpec } from '../model/index.js'
import { buildSpec } from './build.js'
import type { Root } from './check-root.js'
import { explainIssues } from './explain.js'
import { type Fault, type Path, pathText } from './faults.js'
import { judgeEntryKey } from './foreign-keys.js'
import type { Parsed } from './parsed.js'
import type { ReadingContext } from './read.js'
import { prefixSchema, type ServerEntry, serverSchema } from './schema.js'
import { isObject, typeName } from './types.js'

const RESERVED = new Set(['__proto__', 'constructor', 'prototype'])

/** Every entry as a spec: a working one, or one that says what is wrong with it. */
export function readServers(
  root: Root,
  parsed: Parsed,
  context: ReadingContext,
  faults: Fault[],
): (UpstreamSpec | MisconfiguredSpec)[] {
  const names = parsed.keysOf([root.serversKey]) ?? Object.keys(root.servers)
  const known = new Map<string | undefined, Fault[]>()
  for (const fault of parsed.faults) known.set(fault.server, [...(known.get(fault.server) ?? []), fault])
  return names.map(name => {
    const path: Path = [root.serversKey, name]
    const own = known.get(name) ?? []
    const found: Fault[] = []
    const spec = readServer(name, path, root, parsed, context, found)
    for (const fault of found) faults.push(fault)
    const errors = [...own, ...found].filter(fault => fault.severity === 'error')
    if (spec && errors.length === 0) return spec
    return { name, prefix: prefixOf(root.servers[name], name), problem: problemOf(errors) }
  })
}

function problemOf(errors: readonly Fault[]): string {
  const [first] = errors
  if (!first) return 'its entry cannot be used'
  const key = first.key.replace(/^\w+\.?(?:\["(?:[^"\\]|\\.)*"\]|[^.[]+)\.?/, '')
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return `${key === '' ? '' : `"${key}" `}${first.message}; ${first.fix}${more}`
}

function prefixOf(entry: unknown, name: string): string {
  const own = isObject(entry) && isObject(entry['holdfast']) ? entry['holdfast']['prefix'] : undefined
  return prefixSchema.safeParse(own).data ?? name
}

function readServer(
  name: string,
  path: Path,
  root: Root,
  parsed: Parsed,
  context: ReadingContext,
  faults: Fault[],
): UpstreamSpec | null {
  const value = root.servers[name]
  const report = (inner: Path, message: string, fix: string, severity: Fault['severity'] = 'error') => {
    const full = [...path, ...inner]
    faults.push({ severity, server: name, key: pathText(full), ...parsed.locate(full), message, fix })
  }
  const badName = nameProblem(name)
  if (badName) report([], badName, 'rename the server')
  if (!isObject(value)) {
    report([], `must be an object, not ${typeName(value)}`, 'write { "command": "..." } or { "url": "..." }')
    return null
  }
  for (const key of Object.keys(value)) {
    const finding = judgeEntryKey(key)
    if (finding) report([key], finding.message, finding.fix, finding.severity)
  }
  // The schema passes over this name, and what it passes over would be lost.
  for (const key of ['env', 'headers']) {
    const words = value[key]
    if (isObject(words) && Object.hasOwn(words, '__proto__'))
      report([key, '__proto__'], 'is a reserved word', 'rename it')
  }
  const checked = serverSchema.safeParse(value)
  if (!checked.success) {
    faults.push(
      ...explainIssues(checked.error.issues, { base: path, value, server: name, locate: parsed.locate }),
    )
  }
  return buildSpec(
    name,
    value,
    checked.success ? checked.data : soundPart(value, checked.error.issues),
    root.holdfast,
    context,
    report,
  )
}

/** The entry without its faulty keys: what else is wrong is told in the same run. */
function soundPart(
  value: Record<string, unknown>,
  issues: readonly { path: PropertyKey[] }[],
): ServerEntry | null {
  const faulty = new Set(issues.map(issue => issue.path[0]))
  const rest = Object.fromEntries(Object.entries(value).filter(([key]) => !faulty.has(key)))
  return serverSchema.safeParse(rest).data ?? null
}

/** What is wrong with the name of a server; null when nothing is. */
export function nameProblem(name: string): string | null {
  if (name === '') return 'the name of a server must not be empty'
  if (RESERVED.has(name)) return `"${name}" is a reserved word and cannot name a server`
  if (name.includes('__')) return 'the name must not hold "__", which separates servers from tools'
  if (!/^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/.test(name)) {
    return 'the name may hold letters, digits, "_", "-" and ".", and must not start with "."'
  }
  return null
}
