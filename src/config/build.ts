import { basename } from 'node:path'
import type { HttpSpec, ResultRule, StdioSpec, Supervision, Timeouts, UpstreamSpec } from '../model/index.js'
import { parseDuration } from './durations.js'
import type { Report } from './expander.js'
import type { ReadingContext } from './read.js'
import type { HoldfastOptions, ServerEntry, ServerOptions } from './schema.js'
import { httpSpec, stdioSpec, URL_KEYS } from './transports.js'

const DEFAULT_CACHE_TTL_MS = 300_000

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
    enabled: options.enabled ?? (entry.enabled !== false && entry.disabled !== true),
    lazy: isLazy(options, holdfast),
    era: options.era ?? 'auto',
    isolation: options.isolation ?? holdfast.defaults?.isolation ?? 'shared',
    timeouts: timeoutsFrom(options, holdfast, transport),
    supervision: supervisionFrom(options, holdfast, transport),
    cacheTtlMs: parseDuration(options.cacheTtl ?? holdfast.defaults?.cacheTtl) ?? DEFAULT_CACHE_TTL_MS,
    cacheResults: resultRules(options),
    unavailable: options.unavailable ?? holdfast.defaults?.unavailable ?? 'keep',
    exclusive: options.exclusive ?? holdfast.defaults?.exclusive ?? false,
    onUpdateFailure: options.onUpdateFailure ?? holdfast.defaults?.onUpdateFailure ?? 'keep',
    pin: options.pin ?? holdfast.defaults?.pin ?? 'warn',
    tools: options.tools ?? {},
    resources: options.resources ?? {},
    prompts: options.prompts ?? {},
  }
}

function resultRules({ cacheResults = {} }: ServerOptions): ResultRule[] {
  return Object.entries(cacheResults).map(([pattern, ttl]) => ({ pattern, ttlMs: parseDuration(ttl) ?? 0 }))
}

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
  return checkType(raw, hasCommand ? 'command' : (first ?? 'url'), report) ? hasCommand : null
}

/** Whether `type` and `transport` agree with each other and with the key that says where the server is. */
function checkType(raw: Readonly<Record<string, unknown>>, where: string, report: Report): boolean {
  const type = raw['type']
  const transport = raw['transport']
  if (typeof type === 'string' && typeof transport === 'string' && family(type) !== family(transport)) {
    report(['transport'], `"${transport}" contradicts "type": "${type}"`, 'keep one of the two')
    return false
  }
  const key = type === undefined ? 'transport' : 'type'
  const said = type ?? transport
  if (typeof said !== 'string' || (where === 'command') === (said === 'stdio')) return true
  report([key], `"${said}" does not go with "${where}"`, `remove "${key}", or the key that does not fit`)
  return false
}

/** `streamable-http` and `streamableHttp` are other spellings of `http`. */
function family(type: string): string {
  return /^streamable-?http$/i.test(type) ? 'http' : type
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

function isLazy(options: ServerOptions, holdfast: HoldfastOptions): boolean {
  return options.lazy ?? options.wake ?? holdfast.defaults?.lazy ?? false
}

/** What sleeps until first use may go back to sleep. */
const IDLE_STOP_MS = 600_000
/** What scales to zero may be gone after a minute: the handshake of the next call is what wakes it. */
const WAKE_IDLE_MS = 60_000

function defaultIdle(options: ServerOptions, holdfast: HoldfastOptions): number | null {
  if (options.wake) return WAKE_IDLE_MS
  return isLazy(options, holdfast) ? IDLE_STOP_MS : null
}

function supervisionFrom(
  options: ServerOptions,
  holdfast: HoldfastOptions,
  transport: StdioSpec | HttpSpec,
): Supervision {
  const defaults = holdfast.defaults ?? {}
  const stdio = transport.kind === 'stdio'
  const health = { ...defaults.health, ...options.health }
  const restart = { ...defaults.restart, ...options.restart }
  const idleStop = parseDuration(options.idleStop ?? defaults.idleStop)
  return {
    health: {
      intervalMs: parseDuration(health.interval) ?? (stdio ? 60_000 : 30_000),
      timeoutMs: parseDuration(health.timeout) ?? 5_000,
      failures: health.failures ?? 3,
    },
    restart: { max: restart.max ?? (stdio ? 5 : 10), windowMs: parseDuration(restart.window) ?? 120_000 },
    maxInFlight: options.serial ? 1 : (options.maxInFlight ?? defaults.maxInFlight ?? (stdio ? 32 : 64)),
    trusted: options.trusted ?? false,
    idempotent: options.idempotent ?? [],
    idleStopMs: idleStop ?? defaultIdle(options, holdfast),
    wake: options.wake ?? false,
  }
}

function defaultStart(transport: StdioSpec | HttpSpec): number {
  if (transport.kind !== 'stdio') return 20_000
  return LAUNCHERS.has(basename(transport.command).replace(/\.(cmd|exe)$/, '')) ? 180_000 : 60_000
}
