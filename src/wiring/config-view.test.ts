import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import { type ConfigReading, readConfigObject } from '../config/index.js'
import { serverOptions } from '../config/schema.js'
import { ConfigViewer } from './config-view.js'

const read = (mcpServers: object, holdfast: object = {}): ConfigReading =>
  readConfigObject({ mcpServers, holdfast }, { env: { KEY: 'canary-of-the-environment' }, baseDir: '/' })
const viewOf = ({ upstreams, settings }: ConfigReading) => new ConfigViewer().view(upstreams, settings)
const hashOf = ({ upstreams, settings }: ConfigReading) => new ConfigViewer().hash(upstreams, settings)
const entryOf = (entry: object) => viewOf(read({ a: entry })).servers[0]?.entry

const ms = fc.integer({ min: 1, max: 600_000 })
const patterns = fc.array(fc.constantFrom('a*', 'b?', 'list_*'))
const filter = fc.record({ allow: patterns, deny: patterns }, { requiredKeys: [] })
/** One value for each option that there is. */
const OPTIONS = {
  prefix: fc.constantFrom('', 'p', 'q'),
  enabled: fc.boolean(),
  lazy: fc.boolean(),
  era: fc.constantFrom('auto', 'legacy', '2025-06-18'),
  isolation: fc.constantFrom('shared', 'principal', 'session'),
  connectTimeout: ms,
  startTimeout: ms,
  requestTimeout: ms,
  totalTimeout: ms,
  listTimeout: ms,
  health: fc.record({ interval: ms, timeout: ms, failures: fc.integer({ min: 1, max: 9 }) }),
  restart: fc.record({ max: fc.integer({ min: 1, max: 9 }), window: ms }),
  maxInFlight: fc.integer({ min: 1, max: 99 }),
  idleStop: ms,
  exclusive: fc.boolean(),
  onUpdateFailure: fc.constantFrom('keep', 'replace'),
  serial: fc.boolean(),
  trusted: fc.boolean(),
  idempotent: patterns,
  cacheResults: fc.dictionary(fc.constantFrom('get_*', 'inMs'), ms),
  wake: fc.boolean(),
  cacheTtl: fc.integer({ min: 0, max: 600_000 }),
  unavailable: fc.constantFrom('keep', 'hide'),
  pin: fc.constantFrom('off', 'warn', 'enforce'),
  tools: filter,
  resources: filter,
  prompts: filter,
}
const anyOptions = fc.record(OPTIONS, { requiredKeys: [] })
const anyEntry = fc.oneof(
  anyOptions.map(holdfast => ({ command: '/bin/true', cwd: '/tmp', holdfast })),
  fc
    .tuple(anyOptions, fc.constantFrom({}, { type: 'http' }, { type: 'sse' }))
    .map(([holdfast, type]) => ({ ...type, url: 'https://example.com/mcp', holdfast })),
)

describe('the configuration that runs', () => {
  verifies(['CFG-VIEW'], 'says every option as it is in effect, under its name in a config', () => {
    expect(Object.keys(OPTIONS).sort()).toEqual(Object.keys(serverOptions.shape).sort())
    fc.assert(
      fc.property(anyEntry, anyEntry, fc.integer({ min: 1, max: 65_535 }), (a, b, port) => {
        const reading = read({ a, 10: b }, { listen: { port }, allowedHosts: ['h'], shutdownTimeout: '7s' })
        expect(reading.faults.filter(({ severity }) => severity === 'error')).toEqual([])
        const { servers, holdfast } = viewOf(reading)
        // What it says can be written as a config, and is the same then.
        const again = read(Object.fromEntries(servers.map(({ name, entry }) => [name, entry])), holdfast)
        expect(again.upstreams).toEqual(reading.upstreams)
        expect(again.settings).toEqual(reading.settings)
        expect(hashOf(again)).toBe(hashOf(reading))
      }),
    )
  })

  verifies(['CFG-VIEW'], 'shows nothing that may be a secret', () => {
    const program = {
      command: 'server',
      args: ['-y', '--key', 'canary-1', '--token=canary-2', '${KEY}', '-pcanary-3', 'canary-4'],
      env: { TOKEN: 'canary-5', OTHER: '${KEY}' },
    }
    expect(entryOf(program)).toMatchObject({
      command: 'server',
      args: ['***', '--key', '***', '--token=***', '***', '***', '***'],
      env: { TOKEN: '***', OTHER: '***' },
    })
    const remote = {
      url: 'https://example.com:8443/s/canary-6/mcp?key=canary-7',
      headers: { 'X-Key': '${KEY}' },
    }
    expect(entryOf(remote)).toMatchObject({
      url: 'https://example.com:8443/***?***',
      headers: { 'X-Key': '***' },
    })
    expect(entryOf({ type: 'sse', url: 'http://127.0.0.1:9/sse' })).toMatchObject({
      type: 'sse',
      url: 'http://127.0.0.1:9/sse',
    })
    expect(JSON.stringify(viewOf(read({ program, remote })))).not.toContain('canary')
  })

  verifies(['CFG-VIEW'], 'says of an entry that cannot work what is wrong with it', () => {
    const [a, b] = viewOf(read({ a: { command: '${NOT_SET}' }, b: { command: 'b' } })).servers
    expect(a).toMatchObject({ name: 'a', entry: null })
    expect(a?.problem).toContain('NOT_SET is not set')
    expect(b).toMatchObject({ name: 'b', entry: { command: 'b' }, problem: null })
  })
})

describe('its hash', () => {
  const A = { command: 'a', env: { X: '1', Y: '2' }, holdfast: { requestTimeout: '60s' } }

  test('is the same however the same is written, and whatever its secrets are', () => {
    const hash = hashOf(read({ a: A }))
    expect(hash).toMatch(/^[0-9a-f]{16}$/)
    expect(hashOf(read({ a: { env: { Y: '3', X: '4' }, command: 'a' } }))).toBe(hash)
  })

  test.each([
    ['another server', read({ a: A, b: A })],
    ['another name', read({ b: A })],
    ['another option', read({ a: { ...A, holdfast: { requestTimeout: '61s' } } })],
    ['another program', read({ a: { ...A, command: 'b' } })],
    ['another variable', read({ a: { ...A, env: { X: '1', Z: '2' } } })],
    ['another address to listen at', read({ a: A }, { listen: { port: 1 } })],
    ['an entry that cannot work', read({ a: { ...A, command: '${NOT_SET}' } })],
  ])('is different with %s', (_what, reading) => {
    expect(hashOf(reading)).not.toBe(hashOf(read({ a: A })))
  })

  test('tells of another order, which decides about names that two servers offer', () => {
    expect(hashOf(read({ b: A, a: A }))).not.toBe(hashOf(read({ a: A, b: A })))
  })

  test('is made once a configuration', () => {
    const viewer = new ConfigViewer()
    const { upstreams, settings } = read({ a: A })
    const view = viewer.view(upstreams, settings)
    expect(viewer.view(upstreams, settings)).toBe(view)
    const other = read({ a: A, b: A })
    const hash = viewer.hash(upstreams, settings)
    expect(viewer.hash(other.upstreams, settings)).not.toBe(hash)
    expect(viewer.hash(upstreams, settings)).toBe(hash)
  })
})
