import type { z } from 'zod'
import { type Fault, type Path, pathText } from './faults.js'
import type { Parsed } from './parsed.js'
import { holdfastSchema, NOT_YET, serverSchema } from './schema.js'
import { nearestKey } from './suggest.js'
import { typeName } from './types.js'

type Issue = z.core.$ZodIssue

export interface ExplainContext {
  /** Path of the value that was checked. */
  readonly base: Path
  readonly value: unknown
  readonly server?: string
  locate: Parsed['locate']
}

/** Of one value: a list of a million wrong elements is one mistake, not a million. */
const MOST_SHOWN = 50

/** Schema issues as lines for a person: what was expected, what stands there, and the fix. */
export function explainIssues(issues: readonly Issue[], context: ExplainContext): Fault[] {
  // A value of a wrong form is checked for its range all the same, and would be told twice.
  const different = issues.filter((issue, index) => !isSame(issue, issues[index - 1]))
  const single = different.flatMap((issue): { issue: Issue; key?: string }[] =>
    issue.code === 'unrecognized_keys' ? issue.keys.map(key => ({ issue, key })) : [{ issue }],
  )
  const faults = single
    .slice(0, MOST_SHOWN)
    .map(({ issue, key }) =>
      key === undefined ? explainOne(issue, context) : unknownKey(issue.path, key, context),
    )
  const more = single.length - MOST_SHOWN
  if (more > 0) faults.push(makeFault([], context, `holds ${more} more faults`, 'begin with those above'))
  return faults
}

function isSame(issue: Issue, before: Issue | undefined): boolean {
  return before?.message === issue.message && pathText(plain(before.path)) === pathText(plain(issue.path))
}

function makeFault(path: Path, context: ExplainContext, message: string, fix: string): Fault {
  const full = [...context.base, ...path]
  return {
    severity: 'error',
    ...(context.server === undefined ? {} : { server: context.server }),
    key: pathText(full),
    ...context.locate(full),
    message,
    fix,
  }
}

function unknownKey(path: readonly PropertyKey[], key: string, context: ExplainContext): Fault {
  const inner = plain(path)
  if (NOT_YET.has(key)) {
    return makeFault([...inner, key], context, 'is not supported by this version of Holdfast', 'remove it')
  }
  const near = nearestKey(key, knownKeys(inner, context))
  const fix = near ? `did you mean "${near}"?` : 'remove it'
  return makeFault([...inner, key], context, 'is not an option of Holdfast', fix)
}

/** The keys that an object of ours may have, from the schema. */
function knownKeys(path: Path, context: ExplainContext): readonly string[] {
  let schema: unknown = context.server === undefined ? holdfastSchema : serverSchema
  for (const part of path) schema = unwrap(shapeOf(schema)?.[String(part)])
  return Object.keys(shapeOf(schema) ?? {})
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  return (schema as { shape?: Record<string, unknown> } | undefined)?.shape
}

function unwrap(schema: unknown): unknown {
  const inner = schema as { unwrap?: () => unknown } | undefined
  return shapeOf(inner) ? inner : (inner?.unwrap?.() ?? inner)
}

function explainOne(issue: Issue, context: ExplainContext): Fault {
  const path = plain(issue.path)
  const got = valueAt(context.value, path)
  const make = (message: string, fix: string) => makeFault(path, context, message, fix)
  switch (issue.code) {
    case 'invalid_type': {
      const expected = EXPECTED.get(issue.expected) ?? `a ${issue.expected}`
      return make(`must be ${expected}, not ${gotText(got)}`, fixFor(path, context) ?? `write ${expected}`)
    }
    case 'invalid_value': {
      if (context.server === undefined && path[0] === 'auth')
        return make('this mode is not supported by this version of Holdfast', 'use "none"')
      const allowed = issue.values.map(value => JSON.stringify(value)).join(', ')
      return make(`must be one of ${allowed}`, `use one of ${allowed}`)
    }
    case 'too_small':
      return issue.origin === 'string'
        ? make('must not be empty', 'give it a value, or remove it')
        : make(`must be at least ${issue.minimum}`, 'choose a value inside the range')
    case 'too_big':
      return make(`must be at most ${issue.maximum}`, 'choose a value inside the range')
    default:
      return make(issue.message, fixFor(path, context) ?? 'change it to the form that is named')
  }
}

/** Numbers are told apart, as "must be a whole number, not a number" helps nobody. */
function gotText(got: unknown): string {
  if (typeof got !== 'number') return typeName(got)
  if (!Number.isFinite(got)) return 'an infinite or undefined number'
  return Number.isInteger(got) ? 'a number' : 'a number with a fraction'
}

const EXPECTED = new Map<string, string>([
  ['array', 'a list'],
  ['object', 'an object'],
  ['record', 'an object of strings'],
  ['string', 'a string'],
  ['boolean', 'true or false'],
  ['int', 'a whole number'],
  ['number', 'a number'],
])

/** By the key of the entry: below it come names that the user chose. */
const ENTRY_FIXES = new Map([
  ['args', 'write "args": ["first", "second"], every element in quotes'],
  ['env', 'write "env": { "NAME": "value" }, every value in quotes'],
  ['headers', 'write "headers": { "Name": "value" }, every value in quotes'],
  ['command', 'write the program alone, and its arguments in "args"'],
])

const OPTION_FIXES = new Map([
  ['era', 'write "auto", or remove it'],
  ['prefix', 'write for example "files", or "" for no prefix'],
])

function fixFor(path: Path, context: ExplainContext): string | undefined {
  const [first] = path
  const last = String(path.at(-1))
  if (context.server !== undefined && first !== 'holdfast') return ENTRY_FIXES.get(String(first))
  return last.endsWith('Timeout') ? 'write for example "30s"' : OPTION_FIXES.get(last)
}

function plain(path: readonly PropertyKey[]): (string | number)[] {
  return path.map(part => (typeof part === 'number' ? part : String(part)))
}

function valueAt(value: unknown, path: Path): unknown {
  let current = value
  for (const part of path) current = (current as Record<string | number, unknown> | undefined)?.[part]
  return current
}
