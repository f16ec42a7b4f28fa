import { describe, expect, test } from 'vitest'
import type { UpstreamSpec } from '../model/index.js'
import {
  type ConfigReading,
  isMisconfigured,
  loadConfig,
  readConfig,
  readConfigObject,
  renderFaults,
} from './index.js'
import type { Dialect } from './parse.js'
import { holdfastSchema, serverOptions } from './schema.js'

const CONTEXT = { env: { EMPTY: '' }, baseDir: '/base' }
const read = (text: string, dialect: Dialect = 'json') => readConfig(text, { ...CONTEXT, dialect })
const entry = (value: unknown) => readConfigObject({ mcpServers: { a: value } }, CONTEXT)
const ours = (options: unknown) => entry({ command: 'x', holdfast: options })
const gateway = (holdfast: unknown) =>
  readConfigObject({ mcpServers: { a: { command: 'x' } }, holdfast }, CONTEXT)

function specOf(reading: ConfigReading, index = 0): UpstreamSpec {
  const spec = reading.upstreams[index]
  if (!spec || isMisconfigured(spec)) throw new Error(`misconfigured: ${JSON.stringify(reading.faults)}`)
  return spec
}

const ROWS: [what: string, reading: () => ConfigReading, key: string, words: RegExp][] = [
  [
    'a duration of another type',
    () => ours({ requestTimeout: true }),
    'mcpServers.a.holdfast.requestTimeout',
    /duration.*30s/s,
  ],
  [
    'a duration that overflows',
    () => ours({ requestTimeout: `${'9'.repeat(400)}s` }),
    'mcpServers.a.holdfast.requestTimeout',
    /24 days/,
  ],
  [
    'a duration beyond any timer',
    () => ours({ requestTimeout: '1000h' }),
    'mcpServers.a.holdfast.requestTimeout',
    /24 days/,
  ],
  [
    'an infinite duration',
    () => read('mcpServers: {a: {command: x, holdfast: {listTimeout: .inf}}}', 'yaml'),
    'mcpServers.a.holdfast.listTimeout',
    /duration/,
  ],
  [
    'a port with a fraction',
    () => gateway({ listen: { port: 1.5 } }),
    'holdfast.listen.port',
    /not a number with a fraction/,
  ],
  [
    'a command that expands to nothing',
    () => entry({ command: '${EMPTY}' }),
    'mcpServers.a.command',
    /is empty/,
  ],
  ['a url that expands to nothing', () => entry({ url: '${EMPTY}' }), 'mcpServers.a.url', /is empty/],
  [
    'a cwd that expands to nothing',
    () => entry({ command: 'x', cwd: '${EMPTY}' }),
    'mcpServers.a.cwd',
    /is empty/,
  ],
  [
    'type against transport',
    () => entry({ url: 'http://h', type: 'sse', transport: 'http' }),
    'mcpServers.a.transport',
    /contradicts/,
  ],
  [
    'a header twice by case',
    () => entry({ url: 'http://h', headers: { A: 'b', a: 'c' } }),
    'mcpServers.a.headers.a',
    /same header as "A"/,
  ],
  [
    'a workspace folder',
    () => entry({ command: '${workspaceFolder}/x' }),
    'mcpServers.a.command',
    /workspaceFolder} cannot be expanded/,
  ],
  [
    'a variable inside a default',
    () => entry({ command: 'x', args: ['${A:-${B}}'] }),
    'mcpServers.a.args[0]',
    /inside another/,
  ],
  [
    'an unclosed variable',
    () => entry({ command: 'x', args: ['${A'] }),
    'mcpServers.a.args[0]',
    /without its "}"/,
  ],
  [
    'a variable named like a method',
    () => entry({ command: '${constructor}' }),
    'mcpServers.a.command',
    /constructor is not set/,
  ],
  [
    'an env key that no object keeps',
    () => read('{"mcpServers":{"a":{"command":"x","env":{"__proto__":"v"}}}}'),
    'mcpServers.a.env.__proto__',
    /reserved/,
  ],
  [
    'an env key named like a method',
    () => entry({ command: 'x', env: { constructor: 1 } }),
    'mcpServers.a.env.constructor',
    /every value in quotes/,
  ],
  [
    'an empty pattern',
    () => ours({ tools: { deny: [''] } }),
    'mcpServers.a.holdfast.tools.deny[0]',
    /must not be empty/,
  ],
  ['a NUL character', () => entry({ command: 'x', args: ['\0'] }), 'mcpServers.a.args[0]', /NUL/],
  [
    'a mistyped type on a server named auth',
    () => readConfigObject({ mcpServers: { auth: { url: 'http://h', type: 'grpc' } } }, CONTEXT),
    'mcpServers.auth.type',
    /must be one of/,
  ],
  ['a library config that is nothing', () => readConfigObject(undefined, CONTEXT), '', /not nothing/],
  ['JSON without a bottom', () => read('['.repeat(100_000)), '', /too deeply/],
  [
    'YAML that unfolds without end',
    () => read(`a: &a [1,1]\nb: &b [${'*a,'.repeat(60)}]\nc: [${'*b,'.repeat(60)}]\n`, 'yaml'),
    '',
    /aliases/,
  ],
  ['an alias to nothing', () => read('mcpServers:\n  a: *b\n', 'yaml'), '', /alias/],
]

describe('a config with', () => {
  test.each(ROWS)('%s names it', (_what, reading, key, words) => {
    const { faults } = reading()
    const found = faults.find(fault => fault.key === key && words.test(`${fault.message} ${fault.fix}`))
    expect(found, JSON.stringify(faults)).toMatchObject({ severity: 'error', fix: expect.any(String) })
  })

  test('an unset variable in a header says so once', () => {
    expect(entry({ url: '${NOPE}', headers: { A: '${NOPE}' } }).faults).toHaveLength(2)
  })

  test('an object that holds itself is refused, not thrown', () => {
    const circular: Record<string, unknown> = {}
    circular['mcpServers'] = circular
    expect(readConfigObject(circular, CONTEXT)).toMatchObject({ ok: false, faults: [{ severity: 'error' }] })
  })

  test.each<[Dialect, string]>([
    ['json', '{"mcpServers":{"a":{"command":"x","command":"y"},"b":{"command":"z"}}}'],
    ['json', '{"mcpServers":{"a":{"command":"x"},"a":{"command":"y"},"b":{"command":"z"}}}'],
    ['yaml', 'mcpServers:\n  a:\n    command: x\n    command: y\n  b: {command: z}\n'],
  ])('a duplicate inside one server (%s) leaves the others running', (dialect, text) => {
    const reading = read(text, dialect)
    expect(reading.ok).toBe(true)
    expect(reading.upstreams.map(spec => [spec.name, isMisconfigured(spec)])).toEqual([
      ['a', true],
      ['b', false],
    ])
    expect(reading.faults[0]).toMatchObject({ server: 'a', line: dialect === 'yaml' ? 4 : 1 })
  })

  test.each<[Dialect, string]>([
    ['yaml', 'mcpServers: {a: {command: x, env: {K: !hunter2 v}}}\n'],
    ['yaml', 'mcpServers:\n  a:\n    env:\n      K: *hunter2\n'],
    ['yaml', 'mcpServers:\n  a:\n    env:\n      K: |hunter2\n'],
    ['toml', '[mcpServers.a.env]\nK = hunter2\n'],
    ['json', '{"mcpServers":{"a":{"url":"hunter2:x"}}}'],
    ['json', '{"mcpServers":{"a":{"url":"http://h","headers":{"A":"${hunt er2} hunter2"}}}}'],
  ])('a secret in the wrong place (%s) never shows it', (dialect, text) => {
    const reading = read(text, dialect)
    const shown =
      renderFaults(reading.faults, { path: 'f', color: false }) + JSON.stringify(reading.upstreams)
    expect(reading.faults.length).toBeGreaterThan(0)
    expect(shown).not.toMatch(/hunt/)
  })
})

describe('a config', () => {
  test.each<[Dialect, string]>([
    ['json', '{"mcpServers":{"z":{"command":"x"},"10":{"command":"x"},"2":{"command":"x"}}}'],
    ['yaml', 'mcpServers:\n  z: {command: x}\n  10: {command: x}\n  2: {command: x}\n'],
  ])('keeps the order of the file for names that are numbers (%s)', (dialect, text) => {
    expect(read(text, dialect).upstreams.map(spec => spec.name)).toEqual(['z', '10', '2'])
  })

  test('may start with a byte order mark', () => {
    expect(read('\uFEFF{"mcpServers":{}}').faults).toEqual([])
  })

  test('may merge YAML maps', () => {
    const text = 'x: &b {command: y}\nmcpServers:\n  a:\n    <<: *b\n    args: [z]\n'
    expect(specOf(read(text, 'yaml')).transport).toMatchObject({ command: 'y', args: ['z'] })
  })

  test('warns of keys of other clients and names what does it here', () => {
    const reading = entry({
      command: 'x',
      excludeTools: [],
      arg: [],
      requestTimeout: 1,
      icon: '',
    })
    expect(specOf(reading).name).toBe('a')
    expect(
      reading.faults.map(({ severity, fix }) => [severity, /"(tools|args|holdfast)"|leave it/.test(fix)]),
    ).toEqual(Array(4).fill(['warning', true]))
  })

  test('with a bad prefix stays under its name', () => {
    expect(ours({ prefix: 'a__b' }).upstreams[0]).toMatchObject({ name: 'a', prefix: 'a' })
  })

  test('renders names without what a terminal would obey, server by server', () => {
    const fault = { severity: 'error', key: '', message: 'm', fix: 'f' } as const
    const shown = renderFaults(
      [{ ...fault, server: 'a\x1b[2J' }, { ...fault, server: 'b' }, { ...fault, server: 'a\x1b[2J' }, fault],
      { path: 'p', color: false },
    )
    expect(shown).not.toContain('\x1b')
    expect(shown.match(/error: (server "[ab]|m)/g)).toEqual([
      'error: m',
      'error: server "a',
      'error: server "a',
      'error: server "b',
    ])
  })

  test('that is not UTF-8, or that an own reader provides, is handled', async () => {
    const load = (bytes: Uint8Array) => loadConfig('f.json', { env: {}, readFile: async () => bytes })
    expect((await load(Buffer.from([0xff, 0xfe, 0x7b]))).faults[0]?.message).toContain('UTF-8')
    expect((await load(Buffer.from('{"mcpServers":{}}'))).ok).toBe(true)
  })
})

/** One row a leaf below the options that config.test.ts enumerates. */
const LEAVES: Record<
  string,
  [reading: () => ConfigReading, effect: (reading: ConfigReading) => unknown, expected: unknown]
> = {
  'listen.host': [() => gateway({ listen: { host: '::1' } }), reading => reading.settings.listen.host, '::1'],
  'listen.port': [() => gateway({ listen: { port: 1 } }), reading => reading.settings.listen.port, 1],
  'auth.mode': [() => gateway({ auth: { mode: 'none' } }), reading => reading.settings.auth.mode, 'none'],
}
for (const kind of ['tools', 'resources', 'prompts'] as const) {
  for (const list of ['allow', 'deny'] as const) {
    LEAVES[`${kind}.${list}`] = [
      () => ours({ [kind]: { [list]: ['p'] } }),
      reading => specOf(reading)[kind][list],
      ['p'],
    ]
  }
}

test('every nested option has a row here and an effect', () => {
  const { listen, auth } = holdfastSchema.shape
  const { tools, resources, prompts } = serverOptions.shape
  const nested = Object.entries({ listen, auth, tools, resources, prompts }).flatMap(([key, schema]) =>
    Object.keys(schema.unwrap().shape).map(inner => `${key}.${inner}`),
  )
  expect(nested.sort()).toEqual(Object.keys(LEAVES).sort())
  for (const [key, [reading, effect, expected]] of Object.entries(LEAVES))
    expect(effect(reading()), key).toEqual(expected)
})

test('an option that this version lacks is refused at the place where the design has it', () => {
  const readings = [
    ours({ tools: { rename: {} } }),
    ours({ prompts: { describe: {} } }),
    gateway({ profiles: {} }),
    gateway({ auth: { mode: 'jwt' } }),
  ]
  for (const { faults } of readings)
    expect(faults[0]?.message).toMatch(/not supported by this version of Holdfast/)
})
