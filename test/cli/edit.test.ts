import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CRASHING } from '../acceptance/shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import { runCommand, withGateway, writeConfig } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { freshFolder } from '../kit/run-folder.js'
import { verifies } from '../kit/verifies.js'

const text = (path: string) => readFileSync(path, 'utf8')
const COMMENTED = `{
  // my servers
  "mcpServers": {
    "files": { "command": "x", "env": { "KEY": "hunter2" } }, // the first
    "github": { "url": "http://127.0.0.1:9/mcp" }
  }
}
`

describe('holdfast add', () => {
  verifies(['CFG-EDIT'], 'writes a server, keeps the comments, shows what it did, and backs up', async () => {
    const config = writeConfig(COMMENTED)
    const run = await runCommand([
      ...['add', 'db', '--env', 'PASSWORD=hunter3', '--prefix', 'sql', '--lazy', '--config', config],
      ...['--', 'npx', '-y', 'db-server', '--env', 'x'],
    ])
    expect([run.code, run.stderr]).toEqual([
      0,
      expect.stringContaining(`what it was before is in ${config}.bak`),
    ])
    expect(run.stdout).toContain('+    "db": {')
    expect(run.stdout).not.toMatch(/hunter/)
    expect(text(config)).toContain('// my servers')
    expect(text(config)).toContain('// the first')
    expect(text(config)).toContain(`    "db": {
      "command": "npx",
      "args": ["-y", "db-server", "--env", "x"],
      "env": { "PASSWORD": "hunter3" },
      "holdfast": {
        "prefix": "sql",
        "lazy": true
      }
    }
`)
    expect(text(`${config}.bak`)).toBe(COMMENTED)
    expect((await runCommand(['check', config])).code).toBe(0)
  })

  verifies(['CFG-EDIT'], 'makes ./holdfast.json where there is no config, and says so', async () => {
    const cwd = freshFolder('add')
    const env = { HOME: cwd, XDG_CONFIG_HOME: join(cwd, 'none') }
    const header = 'Authorization: Bearer ${HOLDFAST_NOT_SET}'
    const run = await runCommand(['add', 'a', 'https://h/mcp', '--header', header], { cwd, env })
    const file = join(cwd, 'holdfast.json')
    expect(run.code).toBe(0)
    expect(run.stderr).toContain('Created ')
    expect(run.stderr).toContain(
      'warning: server "a": mcpServers.a.headers.Authorization: the variable HOLDFAST_NOT_SET',
    )
    expect(JSON.parse(text(file))).toEqual({
      mcpServers: { a: { url: 'https://h/mcp', headers: { Authorization: 'Bearer ${HOLDFAST_NOT_SET}' } } },
    })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const second = await runCommand(['add', 'b', '--', './run'], { cwd, env })
    expect([second.code, Object.keys(JSON.parse(text(file)).mcpServers)]).toEqual([0, ['a', 'b']])
  })

  test('with --dry-run shows it alone; the key of VS Code stays', async () => {
    const config = writeConfig('{ "servers": {} }')
    const trial = await runCommand(['add', 'a', 'http://h', '--config', config, '--dry-run'])
    expect([trial.code, trial.stdout]).toEqual([0, expect.stringContaining('+  "a": { "url": "http://h" }')])
    expect([text(config), existsSync(`${config}.bak`)]).toEqual(['{ "servers": {} }', false])
    expect((await runCommand(['add', 'a', 'http://h', '--config', config, '--quiet'])).stdout).toBe('')
    expect(JSON.parse(text(config))).toEqual({ servers: { a: { url: 'http://h' } } })
  })

  test.each<[args: string[], code: number, words: RegExp]>([
    [['add', 'files', 'http://h'], 1, /has a server "files" already/],
    [['add', 'a__b', 'http://h'], 2, /must not hold "__"/],
    [['add', 'a'], 2, /say where the server is/],
    [['add', 'a', 'ftp://h'], 2, /no http\(s\) address/],
    [['add', 'a', 'npx', '-y'], 2, /unknown option/],
    [['add', 'a', 'npx', 'x'], 2, /goes behind "--": holdfast add NAME -- npx x/],
    [['add', 'a', 'http://h', '--', 'npx'], 2, /not both/],
    [['add', 'a', '--'], 2, /no program/],
    [['add', '--', 'npx'], 2, /name of a server must not be empty/],
    [['add', 'a', 'http://h', '--env', 'A=b'], 2, /--env is for a program/],
    [['add', 'a', '--header', 'A: b', '--', 'x'], 2, /--header is for a remote/],
    [['add', 'a', '--env', 'hunter2', '--', 'x'], 2, /write --env NAME=VALUE/],
    [['add', 'a', 'http://u:hunter2@h'], 78, /nothing was changed.*user name or password/s],
    [['add', 'a', 'http://h', '--prefix', 'a__b'], 78, /no "__"/],
    [['remove', 'fils'], 1, /has no server "fils". Did you mean "files"\?/],
    [['remove', 'other'], 1, /There is: files, github/],
    [['remove'], 2, /missing required argument/],
    [['disable', 'fils', '--save'], 1, /Did you mean "files"/],
  ])('refuses %j with %i', async (args, code, words) => {
    const config = writeConfig(COMMENTED)
    const dashes = args.indexOf('--')
    const where = dashes < 0 ? args.length : dashes
    const run = await runCommand(args.toSpliced(where, 0, '--config', config))
    expect([run.code, run.stderr]).toEqual([code, expect.stringMatching(words)])
    expect(run.stderr).not.toContain('hunter2')
    expect([text(config), existsSync(`${config}.bak`)]).toEqual([COMMENTED, false])
  })

  test('leaves alone what it cannot understand or cannot change without a loss', async () => {
    const rows: [string, string, number, RegExp][] = [
      ['f.json', '{ "mcpServers": {,} }', 78, /not valid JSON/],
      ['f.json', '{ "mcpServers": {"a": {}, "a": {}} }', 78, /two servers are named "a"/],
      ['f.json', '{ "mcpServers": [] }', 78, /must be an object of servers/],
      ['f.toml', 'mcpServers = { x = { command = "x" } }\n', 1, /edit it by hand/],
    ]
    for (const [file, written, code, words] of rows) {
      const config = writeConfig(written, file)
      const run = await runCommand(['add', 'b', 'http://h', '--config', config])
      expect([run.code, run.stderr]).toEqual([code, expect.stringMatching(words)])
      expect(text(config)).toBe(written)
    }
    const nowhere = join(freshFolder('add'), 'none', 'f.json')
    const run = await runCommand(['add', 'b', 'http://h', '--config', nowhere])
    expect([run.code, run.stderr]).toEqual([1, expect.stringContaining('does not exist')])
  })
})

describe('holdfast remove', () => {
  verifies(
    ['CFG-EDIT'],
    'takes one server out, with the rest as it was, also out of a config with other faults',
    async () => {
      const config = writeConfig(COMMENTED)
      const run = await runCommand(['remove', 'files', '--config', config])
      expect([run.code, run.stdout]).toEqual([0, expect.stringContaining('-    "files":')])
      expect(run.stdout).not.toContain('hunter2')
      expect(text(config)).toBe(COMMENTED.replace(/ {4}"files".*\n/, ''))
      const faulty = writeConfig('mcpServers:\n  a: {comand: x} # typo\n  b: {url: "http://h"}\n', 'f.yaml')
      expect((await runCommand(['remove', 'b', '--config', faulty])).code).toBe(0)
      expect(text(faulty)).toBe('mcpServers:\n  a: {comand: x} # typo\n')
      const none = await runCommand(['remove', 'a', '--config', join(freshFolder('remove'), 'no.json')])
      expect([none.code, none.stderr]).toEqual([78, expect.stringContaining('there is no file')])
    },
  )
})

describe('holdfast enable and disable with --save', () => {
  verifies(
    ['CFG-SAVE'],
    'write it into the file, without a gateway too, in the words of the entry',
    async () => {
      const port = await closedPort()
      const rows: [before: string, after: string][] = [
        ['"a": { "command": "x" }', '"a": { "command": "x", "holdfast": { "enabled": false } }'],
        ['"a": { "command": "x", "disabled": false }', '"a": { "command": "x", "disabled": true }'],
        ['"a": { "command": "x", "enabled": true }', '"a": { "command": "x", "enabled": false }'],
        [
          '"a": { "command": "x", "disabled": false, "holdfast": { "enabled": true } }',
          '"a": { "command": "x", "disabled": false, "holdfast": { "enabled": false } }',
        ],
      ]
      for (const [before, after] of rows) {
        const whole = (entry: string) =>
          `{\n  "mcpServers": {\n    ${entry} // A\n  },\n  "holdfast": { "listen": { "port": ${port} } }\n}\n`
        const config = writeConfig(whole(before))
        const disabled = await runCommand(['disable', 'a', '--save', '--config', config])
        expect([disabled.code, disabled.stderr]).toEqual([0, expect.stringContaining('No gateway answers')])
        expect(text(config)).toBe(whole(after))
        const again = await runCommand(['disable', 'a', '--save', '--config', config])
        expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('disabled already')])
        expect((await runCommand(['enable', 'a', '--save', '--config', config, '--quiet'])).code).toBe(0)
        expect(text(config)).toBe(
          whole(
            after
              .replace('false } }', 'true } }')
              .replace('"disabled": true', '"disabled": false')
              .replace('"enabled": false }', '"enabled": true }'),
          ),
        )
      }
    },
  )

  verifies(['CFG-SAVE'], 'and act on the gateway that runs; without it the file stays', async () => {
    await withFakes([{ transport: 'stdio', script: { builtins: ['echo'] } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        const before = text(gateway.configFile)
        const at = (...args: string[]) =>
          runCommand([...args, '--config', gateway.configFile, '--url', gateway.url])
        expect((await at('disable', 'a')).code).toBe(0)
        expect(text(gateway.configFile)).toBe(before)
        expect((await at('enable', 'a')).code).toBe(0)
        const run = await at('disable', 'a', '--save', '--json')
        expect([run.code, JSON.parse(run.stdout)]).toMatchObject([0, { state: 'disabled' }])
        expect(JSON.parse(text(gateway.configFile)).mcpServers.a.holdfast).toEqual({ enabled: false })
      })
    })
  })
})

describe('--strict', () => {
  verifies(['N170'], 'ends the start with 78 and every fault, where one entry is faulty', async () => {
    const faulty = { mcpServers: { a: { command: 'x', args: 'y' }, b: { url: 'ftp://h' }, c: CRASHING } }
    const config = writeConfig(faulty)
    for (const name of ['serve', 'stdio']) {
      const run = await runCommand([name, '--strict', '--config', config])
      expect([name, run.code, run.stdout]).toEqual([name, 78, ''])
      expect(run.stderr).toMatch(/server "a".*server "b"/s)
    }
    await withGateway(faulty, async gateway => {
      const { upstreams } = await gateway.settled()
      expect(upstreams.map(({ state }) => state)).toEqual([
        'misconfigured',
        'misconfigured',
        expect.any(String),
      ])
    })
    // A warning is no fault.
    const warned = { mcpServers: { a: { ...CRASHING, autoApprove: [] } } }
    await withGateway(warned, async gateway => expect(gateway.stderr).toContain('warning'), {
      args: ['--strict'],
    })
    expect((await runCommand(['stdio', '--strict', '--url', 'http://127.0.0.1:9/mcp'])).code).toBe(2)
  })
})

test('a config that changes while it is edited is not overwritten', async () => {
  const { saveText } = await import('../../src/config/index.js')
  const config = writeConfig(COMMENTED)
  const read = readFileSync(config)
  writeFileSync(config, '{}')
  await expect(saveText(config, read, 'x')).rejects.toThrow(/changed meanwhile/)
  expect(text(config)).toBe('{}')
})
