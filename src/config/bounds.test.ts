import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import { type ConfigReading, loadConfig, readConfig, renderFaults } from './index.js'
import type { Dialect } from './parse.js'

const read = (text: string, dialect: Dialect = 'json') =>
  readConfig(text, { env: {}, baseDir: '/base', dialect })

/** In CPU time: other work on the machine does not count. */
function cpuMs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

describe('a large config', () => {
  const lines = (line: (name: string) => string) =>
    Array.from({ length: 10_000 }, (_, index) => line(`s${index}`))
  const json = (entry: string) => `{"mcpServers":{${lines(name => `"${name}":${entry}`).join(',\n')}}}`
  const ROWS_OF: [what: string, dialect: Dialect, text: () => string][] = [
    ['sound JSON', 'json', () => json('{"command":"x","args":["y"],"env":{"K":"v"}}')],
    ['faulty JSON', 'json', () => json('{"comand":"x","args":3,"env":{"K":"${NO}"},"holdfast":{"lazzy":1}}')],
    ['JSON with every key twice', 'json', () => json('{"command":"x","command":"y"}')],
    [
      'faulty YAML',
      'yaml',
      () => `mcpServers:\n${lines(name => `  ${name}: {comand: x, args: 3}\n`).join('')}`,
    ],
    ['faulty TOML', 'toml', () => lines(name => `[mcpServers.${name}]\ncomand="x"\nargs=3\n`).join('')],
  ]

  for (const [what, dialect, text] of ROWS_OF) {
    verifies(['CFG-SIZE'], `of 10,000 servers in ${what} is read at once`, () => {
      const written = text()
      let reading: ConfigReading | undefined
      const spent = cpuMs(() => {
        reading = read(written, dialect)
      })
      expect(reading?.upstreams).toHaveLength(10_000)
      // About a second; what was quadratic took a minute.
      expect(spent).toBeLessThan(6_000)
    })
  }

  verifies(['CFG-SIZE'], 'with a million wrong values in one entry tells some of them', () => {
    const { faults, ok } = read(`{"mcpServers":{"a":{"command":"x","args":[${'1,'.repeat(400_000)}1]}}}`)
    expect([ok, faults.length]).toEqual([true, 51])
    expect(faults.at(-1)?.message).toBe('holds 399951 more faults')
  })

  verifies(['CFG-SIZE'], 'of 10 MB is refused without being read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-large-'))
    try {
      await writeFile(join(folder, 'f.yaml'), 'a: b\n'.repeat(2 * 1024 * 1024))
      const before = process.cpuUsage()
      const message = (await loadConfig(join(folder, 'f.yaml'), { env: {} })).faults[0]?.message
      expect(message).toMatch(/has 10485760 bytes/)
      expect(process.cpuUsage(before).user).toBeLessThan(500_000)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

/** What stands twice, in each dialect; none may silently take the last one. */
describe('what stands twice', () => {
  test.each<[what: string, dialect: Dialect, text: string, words: RegExp]>([
    [
      'a key',
      'json',
      '{"mcpServers":{"a":{"command":"x","env":{"K":"1","K":"2"}}}}',
      /env\.K: the key "K" stands here twice/,
    ],
    [
      'a key',
      'yaml',
      'mcpServers:\n  a:\n    command: x\n    env: {K: 1, K: 2}\n',
      /env\.K: the key "K" stands here twice/,
    ],
    [
      'a key',
      'toml',
      '[mcpServers.a]\ncommand = "x"\ncommand = "y"\n',
      /f:3:1: .*redefine.*rename or remove one/s,
    ],
    [
      'a server',
      'json',
      '{"mcpServers":{"a":{"command":"x"},"a":{"command":"y"}}}',
      /two servers are named "a"/,
    ],
    [
      'a server',
      'yaml',
      'mcpServers:\n  a: {command: x}\n  a: {command: y}\n',
      /f:3:3: .*two servers are named "a"/,
    ],
    [
      'a server',
      'toml',
      '[mcpServers.a]\ncommand = "x"\n[mcpServers.a]\ncommand = "y"\n',
      /f:3:2: .*redefine/,
    ],
    [
      'the servers',
      'json',
      '{"mcpServers":{},"mcpServers":{"a":{"command":"x"}}}',
      /the key "mcpServers" stands here twice/,
    ],
    [
      'the servers',
      'yaml',
      'mcpServers: {}\nmcpServers: {}\n',
      /f:2:1: .*the key "mcpServers" stands here twice/,
    ],
    [
      'our options',
      'json',
      '{"mcpServers":{},"holdfast":{},"holdfast":{}}',
      /the key "holdfast" stands here twice/,
    ],
  ])('%s in %s is a fault with its place', (_what, dialect, text, words) => {
    const { faults } = read(text, dialect)
    expect(faults.some(({ severity, line }) => severity === 'error' && line !== undefined)).toBe(true)
    expect(renderFaults(faults, { path: 'f', color: false })).toMatch(words)
  })
})

describe('a file that cannot be read', () => {
  test.each([
    ['EACCES', /may not be read by this user/],
    ['ENOENT', /there is no file/],
    ['EISDIR', /is a folder/],
    ['EIO', /cannot be read/],
  ])('for %s says so', async (code, words) => {
    const readFile = () => Promise.reject(Object.assign(new Error(code), { code }))
    const { ok, faults } = await loadConfig('/f.json', { env: {}, readFile })
    expect([ok, faults[0]?.message]).toEqual([false, expect.stringMatching(words)])
  })

  test('for being empty, or blank, says so', async () => {
    for (const text of ['', ' \n\t', '\uFEFF']) {
      const { ok, faults } = await loadConfig('/f.json', { env: {}, readFile: async () => Buffer.from(text) })
      expect([ok, faults[0]?.message]).toEqual([false, expect.stringContaining('empty')])
    }
  })
})
