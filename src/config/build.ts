import { basename, isAbsolute, resolve } from 'node:path'
import type { HttpSpec, StdioSpec, Timeouts, UpstreamSpec } from '../model/index.js'
import { parseDuration } from './durations.js'
import type { Path } from './faults.js'
import { type Environment, expand } from './interpolate.js'
import type { ReadingContext } from './read.js'
import type { HoldfastOptions, ServerEntry, ServerOptions } from './schema.js'

type Report = (path: Path, message: string, fix: string) => void

/** Programs that download before they start: their first start may take minutes. */
const LAUNCHERS = new Set([
  'npx',
  'bunx',
  'pnpm',
  'pnpx',
  'yarn',
  'uvx',
  'uv',
  'pipx',
  'docker',
  'podman',
  'deno',
])

/**
 * Effective values of one entry. Rules that hold between keys are reported whether or not the single keys are right;
 * null where nothing can be built.
 */
export function buildSpec(
  name: string,
  raw: Readonly<Record<string, unknown>>,
  entry: ServerEntry | null,
  holdfast: HoldfastOptions,
  context: ReadingContext,
  report: Report,
): UpstreamSpec | null {
  const isStdio = checkKind(raw, report)
  if (!entry || isStdio === null) return null
  const options: ServerOptions = entry.holdfast ?? {}
  const transport = isStdio ? stdioSpec(entry, context, report) : httpSpec(entry, context, report)
  if (!transport) return null
  return {
    name,
    transport,
    prefix: options.prefix ?? name,
    enabled: options.enabled ?? entry.disabled !== true,
    lazy: options.lazy ?? holdfast.defaults?.lazy ?? false,
    era: options.era ?? 'auto',
    timeouts: timeoutsFrom(options, holdfast, transport),
    unavailable: options.unavailable ?? holdfast.defaults?.unavailable ?? 'keep',
    tools: options.tools ?? {},
    resources: options.resources ?? {},
    prompts: options.prompts ?? {},
  }
}

const URL_KEYS = ['url', 'serverUrl', 'httpUrl'] as const

/** True = stdio, false = remote, null = cannot be told. */
function checkKind(raw: Readonly<Record<string, unknown>>, report: Report): boolean | null {
  const hasCommand = raw['command'] !== undefined
  const urlKeys = URL_KEYS.filter(key => raw[key] !== undefined)
  const [first, second] = urlKeys
  if (hasCommand && first) {
    report([], `has both "command" and "${first}"`, 'keep the one that is meant')
    return null
  }
  if (first && second) {
    report([second], `stands beside "${first}"`, 'keep one address')
    return null
  }
  if (!hasCommand && !first) {
    report([], 'has neither "command" nor "url"', 'add "command" for a program, or "url" for a remote server')
    return null
  }
  const type = raw['type'] ?? raw['transport']
  const key = raw['type'] === undefined ? 'transport' : 'type'
  if (typeof type === 'string' && hasCommand !== (type === 'stdio')) {
    const has = hasCommand ? '"command"' : `"${first}"`
    report([key], `"${type}" does not go with ${has}`, `remove "${key}", or the key that does not fit`)
    return null
  }
  return hasCommand
}

function stdioSpec(entry: ServerEntry, context: ReadingContext, report: Report): StdioSpec {
  const text = expander(context.env, report)
  if (entry.headers) report(['headers'], 'has no meaning for a program', 'remove it')
  const command = text(['command'], entry.command ?? '')
  const cwd = entry.cwd === undefined ? undefined : resolve(context.baseDir, text(['cwd'], entry.cwd))
  const isRelative = command.includes('/') && !isAbsolute(command)
  return {
    kind: 'stdio',
    command: isRelative ? resolve(context.baseDir, command) : command,
    args: (entry.args ?? []).map((arg, index) => text(['args', index], arg)),
    env: mapValues(entry.env ?? {}, (key, value) => text(['env', key], value)),
    ...(cwd === undefined ? {} : { cwd }),
  }
}

function httpSpec(entry: ServerEntry, context: ReadingContext, report: Report): HttpSpec | null {
  const text = expander(context.env, report)
  for (const key of ['args', 'env', 'cwd'] as const) {
    if (entry[key] !== undefined) report([key], 'has no meaning for a remote server', 'remove it')
  }
  const urlKey = URL_KEYS.find(key => entry[key] !== undefined) ?? 'url'
  const url = checkUrl(text([urlKey], entry[urlKey] ?? ''), [urlKey], report)
  const headers = mapValues(entry.headers ?? {}, (key, value) => {
    const expanded = text(['headers', key], value)
    checkHeader(key, expanded, report)
    return expanded
  })
  if (url === null) return null
  const type = entry.type ?? entry.transport
  return { kind: type === 'sse' ? 'sse' : type === undefined ? 'auto' : 'http', url, headers }
}

/** Expands variables; what is unset is named with server, key and variable. */
function expander(env: Environment, report: Report): (path: Path, text: string) => string {
  return (path, text) => {
    const { text: expanded, problems } = expand(text, env)
    for (const problem of problems) {
      if (problem.kind === 'unset') {
        const { variable } = problem
        report(
          path,
          `the variable ${variable} is not set`,
          `set ${variable}, or write \${${variable}:-default}`,
        )
      } else {
        report(path, `${problem.text} cannot be expanded here`, 'use ${VAR} or ${VAR:-default}')
      }
    }
    return expanded
  }
}

function checkUrl(text: string, path: Path, report: Report): string | null {
  if (text === '') return null
  if (!URL.canParse(text)) {
    report(path, 'is not a URL', 'write it as http://host:port/path')
    return null
  }
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    report(path, `must start with http:// or https://, not ${url.protocol}`, 'use an http(s) address')
  } else if (url.hash !== '') {
    report(path, 'must not have a fragment (#...)', 'remove the fragment')
  } else if (url.username !== '' || url.password !== '') {
    report(
      path,
      'must not hold a user name or password',
      'move them to "headers": { "Authorization": "..." }',
    )
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

function timeoutsFrom(
  options: ServerOptions,
  holdfast: HoldfastOptions,
  transport: StdioSpec | HttpSpec,
): Timeouts {
  const defaults = holdfast.defaults ?? {}
  const pick = (key: keyof typeof defaults & keyof ServerOptions, fallback: number) =>
    parseDuration(options[key]) ?? parseDuration(defaults[key]) ?? fallback
  const list = pick('listTimeout', 10_000)
  return {
    connect: pick('connectTimeout', 5_000),
    start: pick('startTimeout', defaultStart(transport)),
    request: pick('requestTimeout', 60_000),
    total: pick('totalTimeout', 600_000),
    list,
    listTotal: list * 3,
  }
}

function defaultStart(transport: StdioSpec | HttpSpec): number {
  if (transport.kind !== 'stdio') return 20_000
  return LAUNCHERS.has(basename(transport.command).replace(/\.(cmd|exe)$/, '')) ? 180_000 : 60_000
}

function mapValues(
  record: Readonly<Record<string, string>>,
  change: (key: string, value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(key, value)]))
}
