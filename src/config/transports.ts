import { isAbsolute, resolve } from 'node:path'
import type { HttpSpec, StdioSpec } from '../model/index.js'
import { valuesOf, variablesFrom } from './env-files.js'
import { type Expander, makeExpander, type Report } from './expander.js'
import type { Path } from './faults.js'
import type { Values } from './interpolate.js'
import type { ReadingContext } from './read.js'
import type { ServerEntry } from './schema.js'

export const URL_KEYS = ['url', 'serverUrl', 'httpUrl'] as const

/** What is reported on the way makes the entry misconfigured; the spec is then not used. */
export function stdioSpec(entry: ServerEntry, context: ReadingContext, report: Report): StdioSpec {
  if (entry.headers) report(['headers'], 'has no meaning for a program', 'remove it')
  const variables = variablesFrom(entry.envFile, context, report)
  const text = makeExpander(valuesWith(variables, context), report)
  const filled = makeFilled(text, report)
  // One of a wrong type was reported, and is not here.
  const command = entry.command === undefined ? '' : (filled(['command'], entry.command) ?? '')
  const cwd = entry.cwd === undefined ? null : filled(['cwd'], entry.cwd)
  const isRelative = command.includes('/') && !isAbsolute(command)
  return {
    kind: 'stdio',
    command: isRelative ? resolve(context.baseDir, command) : command,
    args: (entry.args ?? []).map((arg, index) => text(['args', index], arg) ?? ''),
    env: {
      ...variables,
      ...mapValues(entry.env ?? {}, (key, value) => {
        if (key === '' || key.includes('=')) report(['env', key], 'cannot name a variable', 'rename it')
        return text(['env', key], value) ?? ''
      }),
    },
    ...(cwd === null ? {} : { cwd: resolve(context.baseDir, cwd) }),
  }
}

export function httpSpec(entry: ServerEntry, context: ReadingContext, report: Report): HttpSpec | null {
  for (const key of ['args', 'env', 'cwd'] as const) {
    if (entry[key] !== undefined) report([key], 'has no meaning for a remote server', 'remove it')
  }
  const variables = variablesFrom(entry.envFile, context, report)
  const text = makeExpander(valuesWith(variables, context), report)
  const urlKey = URL_KEYS.find(key => entry[key] !== undefined) ?? 'url'
  const said = entry[urlKey]
  const written = said === undefined ? null : makeFilled(text, report)([urlKey], said)
  const url = written === null ? null : checkUrl(written, [urlKey], report)
  const headers = mapValues(entry.headers ?? {}, (key, value) => {
    const expanded = text(['headers', key], value)
    if (expanded !== null) checkHeader(key, expanded, report)
    return expanded ?? ''
  })
  refuseTwins(Object.keys(headers), report)
  if (url === null) return null
  const type = entry.type ?? entry.transport
  return { kind: type === 'sse' ? 'sse' : type === undefined ? 'auto' : 'http', url, headers }
}

/** What stands in a file of the entry's own is meant for it: it beats what is set for all. */
function valuesWith(variables: Readonly<Record<string, string>> | null, context: ReadingContext): Values {
  return valuesOf(variables === null ? context : { ...context, env: { ...context.env, ...variables } })
}

/** For what cannot be empty: a set but empty variable is as wrong as an unset one. */
function makeFilled(text: Expander, report: Report): Expander {
  return (path, written) => {
    const expanded = text(path, written)
    if (expanded === null || expanded.trim() !== '') return expanded
    report(path, 'is empty', 'give it a value, and the variables in it as well')
    return null
  }
}

/** Schemes that are safe to repeat: of a mistyped secret, the part before ":" would be shown. */
const KNOWN_SCHEMES = new Set(['ws:', 'wss:', 'ftp:', 'file:', 'stdio:', 'sse:', 'tcp:', 'unix:'])

function checkUrl(text: string, path: Path, report: Report): string | null {
  if (!URL.canParse(text)) {
    report(path, 'is not a URL', 'write it as http://host:port/path')
    return null
  }
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    const got = KNOWN_SCHEMES.has(url.protocol) ? `, not ${url.protocol}` : ''
    report(path, `must start with http:// or https://${got}`, 'use an http(s) address')
    return null
  }
  if (text.includes('#')) report(path, 'must not have a fragment (#...)', 'remove the fragment')
  if (url.username !== '' || url.password !== '') {
    const fix = 'move them to "headers": { "Authorization": "..." }'
    report(path, 'must not hold a user name or password', fix)
  }
  return url.href
}

function checkHeader(name: string, value: string, report: Report): void {
  const path: Path = ['headers', name]
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) report(path, 'is not a valid header name', 'rename it')
  else if (value.trim() === '') report(path, 'is empty', 'give it a value, or remove it')
  else if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
    report(path, 'holds characters that a header cannot have', 'remove line breaks and control characters')
  }
}

/** Header names have no case: of two that differ by it alone, one would be lost. */
function refuseTwins(names: readonly string[], report: Report): void {
  const seen = new Map<string, string>()
  for (const name of names) {
    const twin = seen.get(name.toLowerCase())
    if (twin !== undefined) report(['headers', name], `is the same header as "${twin}"`, 'keep one of them')
    seen.set(name.toLowerCase(), name)
  }
}

function mapValues(
  record: Readonly<Record<string, string>>,
  change: (key: string, value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(key, value)]))
}
