import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import type { UpstreamSpec } from '../model/index.js'
import { valuesOf } from './env-files.js'
import {
  type ConfigReading,
  findConfig,
  isMisconfigured,
  jsonSchema,
  loadConfig,
  readConfig,
  readConfigObject,
  renderFaults,
} from './index.js'
import { expand } from './interpolate.js'
import { holdfastSchema, NOT_YET, serverSchema } from './schema.js'

const CONTEXT = {
  env: { TOKEN: 's3cret', EMPTY: '' },
  baseDir: '/base',
  files: {
    of: (path: string) =>
      path === '/base/one.env' ? { text: 'FILED=v' } : { message: `there is no file ${path}`, fix: '' },
  },
}
const read = (text: string) => readConfig(text, { ...CONTEXT, dialect: 'json' })
const servers = (entries: Record<string, unknown>, holdfast?: unknown) =>
  read(JSON.stringify({ mcpServers: entries, ...(holdfast ? { holdfast } : {}) }, null, 2))
const entry = (value: unknown) => servers({ a: value })
const ours = (options: unknown) => entry({ command: 'x', holdfast: options })

function specOf(reading: ConfigReading, index = 0): UpstreamSpec {
  const spec = reading.upstreams[index]
  if (!spec || isMisconfigured(spec)) throw new Error(`misconfigured: ${JSON.stringify(reading.faults)}`)
  return spec
}

/** What is written, where the fault must stand, and words that its message or fix must have. */
const ROWS: [what: string, reading: () => ConfigReading, key: string, words: RegExp][] = [
  ['text that is no JSON', () => read('{\n  "mcpServers": {,}\n}'), '', /not valid JSON/],
  ['a root that is no object', () => read('[1]'), '', /root must be an object, not a list/],
  ['no mcpServers', () => read('{}'), '', /no "mcpServers" object/],
  ['mcpServers that is no object', () => read('{"mcpServers": []}'), 'mcpServers', /not a list/],
  [
    'mcpServers and servers',
    () => read('{"mcpServers": {}, "servers": {}}'),
    'servers',
    /only one of the two/,
  ],
  ['an entry that is no object', () => entry('npx'), 'mcpServers.a', /must be an object, not a string/],
  ['neither command nor url', () => entry({ args: [] }), 'mcpServers.a', /neither "command" nor "url"/],
  [
    'both command and url',
    () => entry({ command: 'x', url: 'http://h' }),
    'mcpServers.a',
    /both "command" and "url"/,
  ],
  [
    'a command that is no string',
    () => entry({ command: ['x'] }),
    'mcpServers.a.command',
    /string, not a list/,
  ],
  ['an empty command', () => entry({ command: '' }), 'mcpServers.a.command', /empty/],
  [
    'args that are no list',
    () => entry({ command: 'x', args: 'y' }),
    'mcpServers.a.args',
    /list, not a string/,
  ],
  [
    'an arg that is no string',
    () => entry({ command: 'x', args: ['y', 1] }),
    'mcpServers.a.args[1]',
    /string, not a number/,
  ],
  [
    'env that is no object',
    () => entry({ command: 'x', env: [] }),
    'mcpServers.a.env',
    /object of strings, not a list/,
  ],
  [
    'an env value that is no string',
    () => entry({ command: 'x', env: { K: 1 } }),
    'mcpServers.a.env.K',
    /not a number/,
  ],
  [
    'a header that is no string',
    () => entry({ url: 'http://h', headers: { K: true } }),
    'mcpServers.a.headers.K',
    /not a boolean/,
  ],
  ['a url of another scheme', () => entry({ url: 'ftp://h' }), 'mcpServers.a.url', /http/],
  ['a url that is none', () => entry({ url: 'not a url' }), 'mcpServers.a.url', /not a URL/],
  ['a url with a fragment', () => entry({ url: 'http://h/#x' }), 'mcpServers.a.url', /fragment/],
  [
    'a url with credentials',
    () => entry({ url: 'http://u:p@h/' }),
    'mcpServers.a.url',
    /user name or password/,
  ],
  [
    'two addresses',
    () => entry({ url: 'http://h', serverUrl: 'http://i' }),
    'mcpServers.a.serverUrl',
    /beside "url"/,
  ],
  [
    'a type that does not fit',
    () => entry({ command: 'x', type: 'sse' }),
    'mcpServers.a.type',
    /does not go with "command"/,
  ],
  ['an unknown type', () => entry({ url: 'http://h', type: 'grpc' }), 'mcpServers.a.type', /one of/],
  [
    'headers for a program',
    () => entry({ command: 'x', headers: { A: 'b' } }),
    'mcpServers.a.headers',
    /no meaning/,
  ],
  ['args for a remote server', () => entry({ url: 'http://h', args: [] }), 'mcpServers.a.args', /no meaning/],
  [
    'a bad duration',
    () => ours({ requestTimeout: '5 minutes' }),
    'mcpServers.a.holdfast.requestTimeout',
    /duration/,
  ],
  ['a duration of zero', () => ours({ totalTimeout: 0 }), 'mcpServers.a.holdfast.totalTimeout', /duration/],
  [
    'a misspelt option',
    () => ours({ requestTimeot: '5s' }),
    'mcpServers.a.holdfast.requestTimeot',
    /did you mean "requestTimeout"/,
  ],
  [
    'a misspelt option of a filter',
    () => ours({ tools: { alow: [] } }),
    'mcpServers.a.holdfast.tools.alow',
    /did you mean "allow"/,
  ],
  [
    'an option that is not there yet',
    () => ours({ tools: { rename: {} } }),
    'mcpServers.a.holdfast.tools.rename',
    /not supported by this version/,
  ],
  ['a bad era', () => ours({ era: 'old' }), 'mcpServers.a.holdfast.era', /"auto", "legacy", "modern"/],
  ['a bad prefix', () => ours({ prefix: 'a__b' }), 'mcpServers.a.holdfast.prefix', /no "__"/],
  [
    'a duplicate key',
    () => read('{"mcpServers":{"a":{"command":"x","command":"y"}}}'),
    'mcpServers.a.command',
    /twice/,
  ],
  [
    'two servers of one name',
    () => read('{"mcpServers":{"a":{"command":"x"},"a":{"command":"y"}}}'),
    'mcpServers.a',
    /two servers/,
  ],
  [
    'a reserved name',
    () => read('{"mcpServers":{"__proto__":{"command":"x"}}}'),
    'mcpServers.__proto__',
    /reserved/,
  ],
  ['a name with the separator', () => servers({ a__b: { command: 'x' } }), 'mcpServers.a__b', /"__"/],
  ['a name with a slash', () => servers({ 'a/b': { command: 'x' } }), 'mcpServers["a/b"]', /letters, digits/],
  [
    'an unset variable',
    () => entry({ command: 'x', env: { K: '${NOPE}' } }),
    'mcpServers.a.env.K',
    /NOPE is not set/,
  ],
  [
    'an input of another client',
    () => entry({ command: '${input:x}' }),
    'mcpServers.a.command',
    /cannot be expanded/,
  ],
  [
    'an empty header',
    () => entry({ url: 'http://h', headers: { A: '${EMPTY}' } }),
    'mcpServers.a.headers.A',
    /empty/,
  ],
  ['an env file of a wrong type', () => entry({ command: 'x', envFile: 1 }), 'mcpServers.a.envFile', /path/],
  ['an unknown gateway option', () => servers({}, { lisen: {} }), 'holdfast.lisen', /did you mean "listen"/],
  ['a bad port', () => servers({}, { listen: { port: 70_000 } }), 'holdfast.listen.port', /at most 65535/],
  [
    'an auth mode that is not there yet',
    () => servers({}, { auth: { mode: 'jwt' } }),
    'holdfast.auth.mode',
    /not supported/,
  ],
]

describe('a config with', () => {
  verifies(['N167', 'N169'], 'anything wrong is told by key, cause and fix, each in its own row', () => {
    for (const [what, reading, key, words] of ROWS) {
      const { faults } = reading()
      const found = faults.find(fault => fault.key === key && words.test(`${fault.message} ${fault.fix}`))
      expect(found, `${what}: ${JSON.stringify(faults)}`).toBeDefined()
      expect(found?.severity).toBe('error')
      expect(found?.fix).not.toBe('')
    }
  })

  test.each(ROWS)('%s names it', (_what, reading, key, words) => {
    expect(
      reading()
        .faults.filter(fault => fault.severity === 'error')
        .map(fault => fault.key),
    ).toContain(key)
    expect(renderFaults(reading().faults, { path: 'f.json', color: false })).toMatch(words)
  })

  test('faults tells where they stand', () => {
    const reading = read('{\n  "mcpServers": {\n    "a": { "command": "x",\n      "args": ["y", 7] }\n  }\n}')
    expect(reading.faults[0]).toMatchObject({ server: 'a', line: 4, column: 21 })
    const yaml = readConfig('mcpServers:\n  a:\n    command: x\n    args: 7\n', {
      ...CONTEXT,
      dialect: 'yaml',
    })
    expect(yaml.faults[0]).toMatchObject({ server: 'a', key: 'mcpServers.a.args', line: 4 })
    expect(readConfig('mcpServers = \n', { ...CONTEXT, dialect: 'toml' }).faults[0]).toMatchObject({
      line: 1,
    })
    expect(read('{\n "mcpServers": {"a" 1}\n}').faults[0]).toMatchObject({ line: 2 })
  })

  test('many faults tells all of them at once', () => {
    const { faults } = servers({ a: { command: 1, args: 'x' }, b: {}, c: { url: 'ftp://x' } }, { lisen: 1 })
    expect(new Set(faults.map(fault => fault.server))).toEqual(new Set(['a', 'b', 'c', undefined]))
    expect(faults.length).toBeGreaterThanOrEqual(5)
  })

  verifies(['N170'], 'one faulty entry runs the others and says what is wrong with that one', () => {
    const reading = servers({ bad: { command: 'x', env: { K: '${NOPE}' } }, good: { command: 'y' } })
    expect(reading.ok).toBe(true)
    expect(reading.upstreams[0]).toMatchObject({
      name: 'bad',
      problem: expect.stringContaining('NOPE is not set'),
    })
    expect(specOf(reading, 1).name).toBe('good')
  })

  test('a fault of the gateway itself cannot be used', () => {
    expect(servers({ good: { command: 'y' } }, { listen: { port: 'x' } }).ok).toBe(false)
  })

  test('secrets never shows them', () => {
    const reading = servers({
      a: {
        url: 'http://u:hunter2@h/?key=hunter2',
        headers: { 'bad name': 'hunter2' },
        holdfast: { era: 'hunter3' },
      },
      b: { command: 'x', env: { K: 'hunter2${NOPE}' }, args: ['${TOKEN}${NOPE}'] },
    })
    const shown =
      renderFaults(reading.faults, { path: 'f', color: false }) + JSON.stringify(reading.upstreams)
    expect(reading.faults.length).toBeGreaterThanOrEqual(4)
    expect(shown).not.toMatch(/hunter2|s3cret/)
  })

  test('keys of other clients works, with a word about those that mean nothing here', () => {
    const reading = read(
      '{ // comment\n "servers": { "a": { "type": "stdio", "command": "x", "autoApprove": ["y"], "mystery": 1, }, }, "inputs": [], "theme": 1 }',
    )
    expect(specOf(reading).name).toBe('a')
    expect(reading.faults.map(fault => [fault.severity, fault.key])).toEqual([
      ['warning', 'theme'],
      ['warning', 'servers.a.autoApprove'],
      ['warning', 'servers.a.mystery'],
    ])
  })
})

/** One row an option: what is written, and what it changes. An option without a row fails the next test. */
const SERVER_OPTIONS: Record<
  string,
  [written: unknown, effect: (spec: UpstreamSpec) => unknown, expected: unknown]
> = {
  prefix: ['p', spec => spec.prefix, 'p'],
  enabled: [false, spec => spec.enabled, false],
  lazy: [true, spec => spec.lazy, true],
  era: ['legacy', spec => spec.era, 'legacy'],
  isolation: ['session', spec => spec.isolation, 'session'],
  connectTimeout: ['1s', spec => spec.timeouts.connect, 1_000],
  startTimeout: ['2s', spec => spec.timeouts.start, 2_000],
  requestTimeout: ['3m', spec => spec.timeouts.request, 180_000],
  totalTimeout: ['1h', spec => spec.timeouts.total, 3_600_000],
  listTimeout: ['500ms', spec => [spec.timeouts.list, spec.timeouts.listTotal], [500, 1_500]],
  health: [
    { interval: '5s', timeout: '1s', failures: 2 },
    spec => spec.supervision.health,
    { intervalMs: 5_000, timeoutMs: 1_000, failures: 2 },
  ],
  restart: [{ max: 2, window: '10s' }, spec => spec.supervision.restart, { max: 2, windowMs: 10_000 }],
  maxInFlight: [3, spec => spec.supervision.maxInFlight, 3],
  serial: [true, spec => spec.supervision.maxInFlight, 1],
  trusted: [true, spec => spec.supervision.trusted, true],
  idempotent: [['get_*'], spec => spec.supervision.idempotent, ['get_*']],
  idleStop: ['1m', spec => spec.supervision.idleStopMs, 60_000],
  wake: [true, spec => [spec.supervision.wake, spec.lazy, spec.supervision.idleStopMs], [true, true, 60_000]],
  cacheTtl: ['60s', spec => spec.cacheTtlMs, 60_000],
  cacheResults: [{ 'get_*': '5s' }, spec => spec.cacheResults, [{ pattern: 'get_*', ttlMs: 5_000 }]],
  unavailable: ['hide', spec => spec.unavailable, 'hide'],
  exclusive: [true, spec => spec.exclusive, true],
  onUpdateFailure: ['replace', spec => spec.onUpdateFailure, 'replace'],
  pin: ['enforce', spec => spec.pin, 'enforce'],
  tools: [{ deny: ['x*'] }, spec => spec.tools, { deny: ['x*'] }],
  resources: [{ allow: ['y'] }, spec => spec.resources, { allow: ['y'] }],
  prompts: [{ allow: [] }, spec => spec.prompts, { allow: [] }],
}
const ENTRY_KEYS: Record<
  string,
  [written: Record<string, unknown>, effect: (spec: UpstreamSpec) => unknown, expected: unknown]
> = {
  type: [{ url: 'http://h', type: 'sse' }, spec => spec.transport.kind, 'sse'],
  transport: [{ url: 'http://h', transport: 'http' }, spec => spec.transport.kind, 'http'],
  command: [
    { command: './run' },
    spec => spec.transport,
    { kind: 'stdio', command: '/base/run', args: [], env: {} },
  ],
  args: [
    { command: 'x', args: ['${TOKEN}'] },
    spec => spec.transport,
    expect.objectContaining({ args: ['s3cret'] }),
  ],
  env: [
    { command: 'x', env: { K: 'v' } },
    spec => spec.transport,
    expect.objectContaining({ env: { K: 'v' } }),
  ],
  envFile: [
    { command: 'x', envFile: 'one.env', args: ['${FILED}'] },
    spec => spec.transport,
    expect.objectContaining({ args: ['v'], env: { FILED: 'v' } }),
  ],
  cwd: [{ command: 'x', cwd: 'sub' }, spec => spec.transport, expect.objectContaining({ cwd: '/base/sub' })],
  url: [{ url: 'http://h/mcp' }, spec => spec.transport, { kind: 'auto', url: 'http://h/mcp', headers: {} }],
  serverUrl: [
    { serverUrl: 'http://h/' },
    spec => spec.transport,
    expect.objectContaining({ url: 'http://h/' }),
  ],
  httpUrl: [{ httpUrl: 'http://h/' }, spec => spec.transport, expect.objectContaining({ url: 'http://h/' })],
  headers: [
    { url: 'http://h', headers: { A: 'b' } },
    spec => spec.transport,
    expect.objectContaining({ headers: { A: 'b' } }),
  ],
  enabled: [{ command: 'x', enabled: false }, spec => spec.enabled, false],
  disabled: [{ command: 'x', disabled: true }, spec => spec.enabled, false],
  holdfast: [{ command: 'x', holdfast: { lazy: true } }, spec => spec.lazy, true],
}
const GATEWAY_OPTIONS: Record<
  string,
  [written: unknown, effect: (reading: ConfigReading) => unknown, expected: unknown]
> = {
  listen: [{ host: '::1', port: 1 }, reading => reading.settings.listen, { host: '::1', port: 1 }],
  auth: [{ mode: 'none' }, reading => reading.settings.auth, { mode: 'none' }],
  allowedHosts: [['h'], reading => reading.settings.allowedHosts, ['h']],
  allowedOrigins: [['o'], reading => reading.settings.allowedOrigins, ['o']],
  shutdownTimeout: ['9s', reading => reading.settings.shutdownTimeoutMs, 9_000],
  envFile: [['two.env'], reading => reading.faults[0]?.message, 'there is no file /base/two.env'],
  defaults: [{ requestTimeout: '7s' }, reading => specOf(reading).timeouts.request, 7_000],
}

describe('every option', () => {
  verifies(['N168'], 'of the schema has a row here and changes what it says', () => {
    const options = serverSchema.shape.holdfast.unwrap().shape
    expect(Object.keys(options).sort()).toEqual(Object.keys(SERVER_OPTIONS).sort())
    expect(Object.keys(serverSchema.shape).sort()).toEqual(Object.keys(ENTRY_KEYS).sort())
    expect(Object.keys(holdfastSchema.shape).sort()).toEqual(Object.keys(GATEWAY_OPTIONS).sort())
    for (const [key, [written, effect, expected]] of Object.entries(SERVER_OPTIONS)) {
      expect(effect(specOf(ours({ [key]: written }))), key).toEqual(expected)
      expect(effect(specOf(ours({}))), `${key} must differ from its default`).not.toEqual(expected)
    }
    for (const [key, [written, effect, expected]] of Object.entries(ENTRY_KEYS)) {
      expect(effect(specOf(entry(written))), key).toEqual(expected)
    }
    for (const [key, [written, effect, expected]] of Object.entries(GATEWAY_OPTIONS)) {
      expect(effect(servers({ a: { command: 'x' } }, { [key]: written })), key).toEqual(expected)
    }
  })

  test('among the defaults is used where a server says nothing', () => {
    const keys = Object.keys(holdfastSchema.shape.defaults.unwrap().shape)
    for (const key of keys) {
      const row = SERVER_OPTIONS[key]
      if (!row) throw new Error(`no row for ${key}`)
      const [written, effect, expected] = row
      expect(effect(specOf(servers({ a: { command: 'x' } }, { defaults: { [key]: written } }))), key).toEqual(
        expected,
      )
    }
  })

  test('that the design names and this version lacks is refused', () => {
    for (const key of NOT_YET) {
      const faults = [...ours({ [key]: 1 }).faults, ...servers({}, { [key]: 1 }).faults]
      expect(
        faults.every(fault => /not supported|not an option/.test(fault.message)),
        key,
      ).toBe(true)
      expect(faults).toHaveLength(2)
    }
  })

  test('stands in the JSON Schema for editors', () => {
    const schema = JSON.stringify(jsonSchema())
    for (const key of [...Object.keys(SERVER_OPTIONS), ...Object.keys(GATEWAY_OPTIONS)])
      expect(schema).toContain(`"${key}"`)
  })
})

describe('defaults', () => {
  test('give package launchers time to download', () => {
    const start = (value: unknown) => specOf(entry(value)).timeouts.start
    expect(start({ command: 'npx' })).toBe(180_000)
    expect(start({ command: '/usr/bin/uvx' })).toBe(180_000)
    expect(start({ command: 'node' })).toBe(60_000)
    expect(start({ url: 'http://h' })).toBe(20_000)
  })

  test('of a prefix is the name, and names such as toString are names like any other', () => {
    const reading = servers({ toString: { command: 'x' } })
    expect(specOf(reading)).toMatchObject({ name: 'toString', prefix: 'toString' })
    expect(readConfigObject({ mcpServers: { a: { command: 'x' } } }, CONTEXT).ok).toBe(true)
  })
})

describe('a variable', () => {
  test.each([
    ['${TOKEN}', 's3cret'],
    ['${env:TOKEN}', 's3cret'],
    ['${NOPE:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${NOPE:-}', ''],
    ['$${TOKEN}', '${TOKEN}'],
    ['a${TOKEN}b$c', 'as3cretb$c'],
  ])('%s becomes %s', (text, expected) => {
    expect(expand(text, valuesOf(CONTEXT))).toEqual({ text: expected, problems: [] })
  })

  test('never expands what came out of an expansion', () => {
    fc.assert(
      fc.property(fc.string(), value => {
        expect(expand('${V}', valuesOf({ ...CONTEXT, env: { V: value } })).text).toBe(value)
      }),
    )
  })
})

describe('the config file', () => {
  const where = { env: {}, cwd: '/w', home: '/h' }

  test('is looked for in the order of the documentation', () => {
    const { tried, path } = findConfig(
      where,
      file => file === '/w/.mcp.json' || file === '/h/.config/holdfast/holdfast.json',
    )
    expect(path).toBe('/w/.mcp.json')
    expect(tried.slice(0, 6).map(file => file.slice(3))).toEqual([
      'holdfast.json',
      'holdfast.jsonc',
      'holdfast.yaml',
      'holdfast.yml',
      'holdfast.toml',
      '.mcp.json',
    ])
    expect(findConfig({ ...where, env: { HOLDFAST_CONFIG: 'x.json' } }, () => true).path).toBe('/w/x.json')
    expect(findConfig({ ...where, explicit: 'y.json', env: { HOLDFAST_CONFIG: 'x' } }, () => true).path).toBe(
      '/w/y.json',
    )
    expect(findConfig(where, () => false).path).toBeNull()
  })

  test('that is missing, a folder, empty or too large is told as such', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-config-'))
    try {
      const message = async (name: string) =>
        (await loadConfig(join(folder, name), { env: {} })).faults[0]?.message
      await writeFile(join(folder, 'empty.json'), ' \n')
      await writeFile(join(folder, 'large.json'), Buffer.alloc(10 * 1024 * 1024 + 1, 0x20))
      expect(await message('none.json')).toContain('there is no file')
      expect(await message('.')).toContain('folder')
      expect(await message('empty.json')).toContain('empty')
      expect(await message('large.json')).toContain('bytes')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('may be JSON with comments, YAML or TOML, and means the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-config-'))
    try {
      const texts = {
        'a.jsonc':
          '{ /* c */ "mcpServers": { "a": { "command": "x", "args": ["1"], "holdfast": { "lazy": true } } } }',
        'a.yaml': 'mcpServers:\n  a:\n    command: x\n    args: ["1"]\n    holdfast: { lazy: true }\n',
        'a.toml': '[mcpServers.a]\ncommand = "x"\nargs = ["1"]\n[mcpServers.a.holdfast]\nlazy = true\n',
      }
      const specs = await Promise.all(
        Object.entries(texts).map(async ([name, text]) => {
          await writeFile(join(folder, name), text)
          return specOf(await loadConfig(join(folder, name), { env: {} }))
        }),
      )
      expect(specs[1]).toEqual(specs[0])
      expect(specs[2]).toEqual(specs[0])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

verifies(['D44'], 'a cacheTtl that is no time is a fault that names the key, and 0 is one', () => {
  for (const cacheTtl of [
    -1,
    '-5s',
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '5 minutes',
    '',
    true,
    '100000h',
  ]) {
    const [fault] = ours({ cacheTtl }).faults
    expect(fault?.message, String(cacheTtl)).toMatch(/duration/)
    expect(fault?.key).toContain('cacheTtl')
  }
  for (const cacheTtl of [0, '0s', '0ms']) expect(specOf(ours({ cacheTtl })).cacheTtlMs).toBe(0)
})
