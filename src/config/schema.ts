import { z } from 'zod'
import { DURATION_FORM, LONGEST_MS, parseDuration } from './durations.js'

/** The one source of every option: validation, the editors' JSON Schema, and the test that each option does something. */

const DURATION_RULE =
  'must be a duration above 0 and up to 24 days: "500ms", "5s", "2m", "1h" or a number of milliseconds'
const duration = z
  .union([z.string().regex(DURATION_FORM, { error: DURATION_RULE }), z.number()], { error: DURATION_RULE })
  .refine(isUsableDuration, { error: DURATION_RULE })
  .describe('A duration: "500ms", "5s", "2m", "1h" or milliseconds.')

function isUsableDuration(value: unknown): boolean {
  const duration = parseDuration(value) ?? 0
  return duration > 0 && duration <= LONGEST_MS
}

const words = z.record(z.string(), z.string())

const envFile = z.union([z.string().min(1), z.array(z.string().min(1))], {
  error: 'must be the path of a file, or a list of paths',
})

/** An empty pattern could never match. */
const patterns = z.array(z.string().min(1))

const filter = z
  .strictObject({
    allow: patterns.optional().describe('Glob patterns of names that are let through.'),
    deny: patterns.optional().describe('Glob patterns of names that are hidden and refused; beats allow.'),
  })
  .describe('Which components of the server are offered. Patterns: * any run, ? one character.')

const PREFIX_RULE = 'may hold letters, digits, "_", "-" and ".", and no "__"'
export const prefixSchema = z
  .string()
  .refine(value => /^[A-Za-z0-9_.-]*$/.test(value) && !value.includes('__'), { error: PREFIX_RULE })
  .describe('Put before each name as PREFIX__NAME; "" = none. Default: the name of the server.')

const timeouts = {
  connectTimeout: duration.optional().describe('Until the socket is open or the process runs. Default 5s.'),
  startTimeout: duration.optional().describe('Until the handshake is done. Default 60s (stdio), 20s (HTTP).'),
  requestTimeout: duration.optional().describe('A request without a sign of life. Default 60s.'),
  totalTimeout: duration.optional().describe('A request in all. Default 600s.'),
  listTimeout: duration.optional().describe('One page of a list. Default 10s.'),
}

const unavailable = z
  .enum(['keep', 'hide'])
  .optional()
  .describe('Whether a server that is down stays listed with what it last offered. Default keep.')
const pin = z
  .enum(['off', 'warn', 'enforce'])
  .optional()
  .describe(
    'When a tool or prompt is not described as it was: off = nothing, warn = say so, enforce = hold it until approved. Default warn.',
  )
const lazy = z.boolean().optional().describe('Start at first use instead of at boot. Default false.')

const isolation = z
  .enum(['shared', 'principal', 'session'])
  .optional()
  .describe(
    'Who shares its connection, lists and state: all clients, those of one identity, or one session alone. Default shared.',
  )

const CACHE_RULE = `${DURATION_RULE}; or 0`
const cacheTtl = z
  .union([z.string().regex(DURATION_FORM, { error: CACHE_RULE }), z.number()], { error: CACHE_RULE })
  .refine(value => parseDuration(value) === 0 || isUsableDuration(value), { error: CACHE_RULE })
  .optional()
  .describe(
    'How long its lists are served without asking it again; the server may ask for less. 0 = each list asks. Default 300s.',
  )

const count = z.int().min(1)
const health = z
  .strictObject({
    interval: duration
      .optional()
      .describe('Between checks of a quiet server. Default 60s (stdio), 30s (HTTP).'),
    timeout: duration.optional().describe('One check. Default 5s.'),
    failures: count.optional().describe('Failed checks in a row that make it unhealthy. Default 3.'),
  })
  .optional()
  .describe('Health checks.')
const restart = z
  .strictObject({
    max: count.optional().describe('Unexpected ends within the window. Default 5 (stdio), 10 (HTTP).'),
    window: duration.optional().describe('Default 120s.'),
  })
  .optional()
  .describe('When restarts become rare: one try every 5 minutes, and one when a call needs it.')
const supervision = {
  health,
  restart,
  maxInFlight: count
    .max(10_000)
    .optional()
    .describe('Requests that it gets at the same time. Default 32 (stdio), 64 (HTTP).'),
  idleStop: duration
    .optional()
    .describe(
      'Stop it after this time without use; the next call starts it. Default 10m if lazy, 1m if wake, else never.',
    ),
}

const succession = {
  exclusive: z
    .boolean()
    .optional()
    .describe(
      'Never two of it at once: in a reload the old one ends before a changed one starts. Default false.',
    ),
  onUpdateFailure: z
    .enum(['keep', 'replace'])
    .optional()
    .describe(
      'When a changed one does not start in a reload: keep the old one, or replace it. Default keep.',
    ),
}

export const serverOptions = z.strictObject({
  prefix: prefixSchema.optional(),
  enabled: z.boolean().optional().describe('false = not started and not listed. Default true.'),
  lazy,
  era: z
    .string()
    .regex(
      /^(auto|legacy|modern|\d{4}-\d{2}-\d{2})$/,
      'must be "auto", "legacy", "modern" or a protocol version date',
    )
    .optional()
    .describe('Protocol era; auto finds out. Default auto.'),
  isolation,
  ...timeouts,
  ...supervision,
  ...succession,
  serial: z.boolean().optional().describe('true = one request at a time, as maxInFlight: 1. Default false.'),
  trusted: z
    .boolean()
    .optional()
    .describe('Believe its readOnlyHint and idempotentHint when a call was lost. Default false.'),
  idempotent: patterns
    .optional()
    .describe('Glob patterns of tools that may run twice: a lost call is repeated once.'),
  cacheResults: z
    .record(z.string().min(1), duration)
    .optional()
    .describe(
      'Tools whose results are kept, by glob pattern, and for how long: the same call of the same identity is answered from memory. Default none.',
    ),
  wake: z
    .boolean()
    .optional()
    .describe(
      'A remote that sleeps when unused: only a call wakes it, never a check; implies lazy. Default false.',
    ),
  cacheTtl,
  unavailable,
  pin,
  tools: filter.optional(),
  resources: filter.optional(),
  prompts: filter.optional(),
})

const TYPES = ['stdio', 'http', 'streamable-http', 'streamableHttp', 'sse'] as const
const type = z.enum(TYPES).optional()

/** An entry of `mcpServers`, as other clients write it; ours sits under `holdfast`. */
export const serverSchema = z.looseObject({
  type: type.describe('stdio, http or sse; found out from command or url when absent.'),
  transport: type.describe('The same as type.'),
  command: z.string().min(1).optional().describe('Program of a stdio server.'),
  args: z.array(z.string()).optional().describe('Arguments of the program, one an element.'),
  env: words.optional().describe('Environment variables of the program.'),
  envFile: envFile
    .optional()
    .describe(
      'Files of NAME=value lines, relative to the config file: variables of the program, and for ${VAR} in this entry.',
    ),
  cwd: z.string().min(1).optional().describe('Working folder, relative to the config file.'),
  url: z.string().min(1).optional().describe('Address of a remote server.'),
  serverUrl: z.string().min(1).optional().describe('The same as url.'),
  httpUrl: z.string().min(1).optional().describe('The same as url.'),
  headers: words.optional().describe('HTTP headers for a remote server.'),
  enabled: z.boolean().optional().describe('false = not started and not listed.'),
  disabled: z.boolean().optional().describe('true = not started and not listed.'),
  holdfast: serverOptions.optional().describe('Options of Holdfast for this server.'),
})

export const holdfastSchema = z.strictObject({
  listen: z
    .strictObject({
      host: z.string().min(1).optional().describe('Address to listen on. Default 127.0.0.1.'),
      port: z.int().min(0).max(65_535).optional().describe('Port; 0 picks a free one. Default 7400.'),
    })
    .optional()
    .describe('Where clients connect.'),
  auth: z
    .strictObject({ mode: z.literal('none').optional().describe('Who may connect. Default none.') })
    .optional()
    .describe('Inbound authentication.'),
  allowedHosts: z
    .array(z.string())
    .optional()
    .describe('Further values of the Host header that are accepted.'),
  allowedOrigins: z
    .array(z.string())
    .optional()
    .describe('Further values of the Origin header that are accepted.'),
  envFile: envFile
    .optional()
    .describe(
      'Files of NAME=value lines, relative to the config file, for ${VAR} in every entry. What is set in the environment of the gateway comes first.',
    ),
  shutdownTimeout: duration.optional().describe('Most time that a stop may take. Default 30s.'),
  defaults: z
    .strictObject({ ...timeouts, ...supervision, ...succession, cacheTtl, unavailable, pin, lazy, isolation })
    .optional()
    .describe('Used for every server that does not say otherwise.'),
})

export type ServerEntry = z.infer<typeof serverSchema>
export type ServerOptions = z.infer<typeof serverOptions>
export type HoldfastOptions = z.infer<typeof holdfastSchema>

/** Options that the design names and that this version does not have: accepting one would be a lie. */
export const NOT_YET: ReadonlySet<string> = new Set(['profiles', 'rename', 'describe'])

export const SERVER_KEYS: readonly string[] = Object.keys(serverSchema.shape)
