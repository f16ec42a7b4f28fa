import { spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { UpstreamStatus } from '../../src/control/index.js'
import type { ControlFile } from '../../src/host/control-file.js'
import type { TestReport } from '../../src/index.js'
import { CRASHING } from '../acceptance/shared.js'
import { CLI } from '../kit/build.js'
import { startFake, withFakes } from '../kit/fake-mcp.js'
import {
  gatewayEnvironment,
  runCommand,
  startGateway,
  TestGateway,
  withGateway,
  writeConfig,
} from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { assertNoneLeft, findProcesses, isAlive, markedEnvironment } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { verifies } from '../kit/verifies.js'

const ECHO = { builtins: ['echo'] }
const FAULTY = { command: 'x', env: { K: '${HOLDFAST_NOT_SET}' } }
const json = <T>(text: string) => JSON.parse(text) as T

/** Runs a command against a running gateway. */
const at = (gateway: TestGateway, ...args: string[]) => runCommand([...args, '--url', gateway.url])

describe('holdfast test', () => {
  verifies(
    ['G87'],
    'works without a running gateway, and exits 0, 69 or 78 as the servers deserve',
    async () => {
      await withFakes([{ transport: 'stdio', script: ECHO }], async fake => {
        const config = writeConfig({
          mcpServers: { good: fake.entry, crashing: CRASHING, faulty: FAULTY },
          holdfast: { listen: { port: await closedPort() } },
        })
        const run = (...args: string[]) => runCommand(['test', ...args, '--config', config])
        const good = await run('good', '--json')
        expect(good.code).toBe(0)
        expect(json<TestReport>(good.stdout)).toMatchObject({ ok: true, counts: { tools: 1 } })
        expect(fake.records.pids.filter(isAlive)).toEqual([])
        const crashing = await run('crashing', '--retries', '2', '--timeout', '3000')
        expect(crashing.code).toBe(69)
        expect(crashing.stdout).toMatch(
          /✗ crashing {2}fails at initialize: exited with code 1: no database\s+\(2 tries/,
        )
        const faulty = await run('faulty')
        expect([faulty.code, faulty.stdout]).toEqual([78, expect.stringContaining('HOLDFAST_NOT_SET')])
        const all = await run('--all', '--retries', '1')
        expect(all.code).toBe(69)
        expect(all.stdout).toMatch(/^● good {6}works: 1 tool in \d+ ms/m)
        expect(Math.max(...all.stdout.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
        const every = json<{ ok: boolean; tests: TestReport[] }>(
          (await run('--all', '--retries', '1', '--json')).stdout,
        )
        expect(every.ok).toBe(false)
        expect(every.tests.map(({ upstream, ok }) => [upstream, ok])).toEqual([
          ['good', true],
          ['crashing', false],
          ['faulty', false],
        ])
        expect((await runCommand(['check', config])).code).toBe(78)
        expect((await run('nobody')).stderr).toContain('There is: good, crashing, faulty')
      })
    },
  )

  test.each([
    [[]],
    [['a', '--all']],
    [['a', '--retries', '0']],
    [['a', '--retries', 'x']],
    [['a', '--timeout', '0']],
  ])('exits 2 for wrong usage: %j', async args => {
    const config = writeConfig({ mcpServers: { a: CRASHING } })
    expect((await runCommand(['test', ...args, '--config', config])).code).toBe(2)
  })

  test('exits 78 for a config that cannot be used, and 69 when the gateway that was named is not there', async () => {
    expect((await runCommand(['test', 'a', '--config', writeConfig('{')])).code).toBe(78)
    const url = `http://127.0.0.1:${await closedPort()}`
    expect((await runCommand(['test', 'a', '--url', url])).code).toBe(69)
  })

  test('asks a running gateway, which brings the server back', async () => {
    const port = await closedPort()
    await withGateway(
      { mcpServers: { a: { type: 'http', url: `http://127.0.0.1:${port}/mcp` } } },
      async gateway => {
        await gateway.waitForState('a', 'backoff')
        const down = await at(gateway, 'test', 'a', '--retries', '1')
        expect(down.code).toBe(69)
        expect(down.stdout).toMatch(/fails at connect: connection refused by/)
      },
    )
  })

  test('that is interrupted ends at once and leaves no child', async () => {
    const mark = `interrupted-${process.pid}`
    const silent = ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)']
    const entry = {
      command: process.execPath,
      args: silent,
      env: { ...markedEnvironment(), TEST_MARK: mark },
    }
    const config = writeConfig({
      mcpServers: { a: entry },
      holdfast: { listen: { port: await closedPort() } },
    })
    const running = runCommand(['test', 'a', '--timeout', '60000', '--config', config])
    await expect.poll(() => findProcesses(mark).length, { timeout: 10_000 }).toBe(1)
    const cli = findProcesses(config).find(({ command }) => command.includes('test a'))
    process.kill(cli?.pid ?? 0, 'SIGINT')
    const { code, stderr } = await running
    expect([code, stderr]).toEqual([1, expect.stringContaining('interrupted')])
    await assertNoneLeft(mark)
  })
})

describe('holdfast restart, disable, enable and refresh', () => {
  test('act on one server of a running gateway, and say how it stands then', async () => {
    await withFakes([{ transport: 'stdio', script: ECHO }, { script: ECHO }], async (fake, other) => {
      await withGateway({ mcpServers: { a: fake.entry, other: other.entry } }, async gateway => {
        const { pid } = await gateway.waitForState('a', 'ready')
        await gateway.waitForState('other', 'ready')
        const restarted = await at(gateway, 'restart', 'a')
        expect([restarted.code, restarted.stdout]).toEqual([0, 'a is up with 1 tool.\n'])
        const now = await gateway.upstream('a')
        expect(now.pid).not.toBe(pid)
        expect(isAlive(pid ?? 0)).toBe(false)

        const disabled = await at(gateway, 'disable', 'a', '--json')
        expect(disabled.code).toBe(0)
        expect(json<UpstreamStatus>(disabled.stdout)).toMatchObject({ name: 'a', state: 'disabled' })
        expect(isAlive(now.pid ?? 0)).toBe(false)
        expect((await at(gateway, 'tools')).stdout).toMatch(/^other__echo$/m)
        expect((await at(gateway, 'tools')).stdout).not.toContain('a__echo')

        const enabled = await at(gateway, 'enable', 'a', '--json')
        expect(enabled.code).toBe(0)
        expect(json<UpstreamStatus>(enabled.stdout)).toMatchObject({ state: 'ready', catalog: { tools: 1 } })

        await other.patch({ builtins: ['echo', 'fail'] })
        const refreshed = await at(gateway, 'refresh', 'other')
        expect([refreshed.code, refreshed.stdout]).toEqual([0, 'other is up with 2 tools.\n'])
        expect((await gateway.upstream('other')).restarts).toBe(0)
      })
    })
  })

  test('exit 1 when the server does not come up, has a faulty entry or does not exist', async () => {
    await withGateway({ mcpServers: { crashing: CRASHING, faulty: FAULTY } }, async gateway => {
      await gateway.settled()
      const crashing = await at(gateway, 'restart', 'crashing')
      expect([crashing.code, crashing.stdout]).toEqual([
        1,
        expect.stringContaining('exited with code 1: no database'),
      ])
      const faulty = await at(gateway, 'restart', 'faulty')
      expect([faulty.code, faulty.stderr]).toEqual([
        1,
        expect.stringContaining('HOLDFAST_NOT_SET is not set'),
      ])
      const nobody = await at(gateway, 'enable', 'nobody')
      expect([nobody.code, nobody.stderr]).toEqual([1, expect.stringContaining('No server named "nobody"')])
      expect((await at(gateway, 'disable')).code).toBe(2)
    })
  })

  test('bring a server that waits for its next try back at once', async () => {
    const fake = await startFake({ script: ECHO, down: true })
    try {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.waitForState('a', 'backoff')
        await gateway.waitFor(({ upstreams }) => (upstreams[0]?.attempts ?? 0) >= 3)
        await fake.restart()
        expect((await at(gateway, 'restart', 'a')).code).toBe(0)
        expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', attempts: 0 })
      })
    } finally {
      await fake.stop()
    }
  })
})

describe('the control token', () => {
  const files = (folder: string, gateway: TestGateway) =>
    join(folder, `control-127.0.0.1-${new URL(gateway.url).port}.json`)

  test('lies where its owner alone can read it, as long as the gateway runs', async () => {
    const state = join(freshFolder('control'), 'state')
    const gateway = await startGateway({ mcpServers: {} }, { env: { HOLDFAST_STATE_DIR: state } })
    try {
      const path = files(state, gateway)
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(statSync(state).mode & 0o777).toBe(0o700)
      const file = json<ControlFile>(readFileSync(path, 'utf8'))
      expect(file).toEqual({
        url: gateway.origin,
        pid: gateway.pid,
        token: expect.stringMatching(/^[0-9a-f]{64}$/),
      })
      expect(JSON.stringify(await gateway.status())).not.toContain(file.token)
      expect(gateway.stdout + gateway.stderr).not.toContain(file.token)
      await gateway.stop()
      expect(existsSync(path)).toBe(false)
    } finally {
      await gateway.stop()
    }
  })

  test('is another one for each gateway, and is gone after a second signal, too', async () => {
    await withFakes(
      [{ transport: 'stdio', script: { ignoreSigterm: true, ignoreStdinEnd: true } }],
      async fake => {
        const state = freshFolder('control')
        const env = { HOLDFAST_STATE_DIR: state }
        const [one, two] = [
          await startGateway({ mcpServers: { stubborn: fake.entry } }, { env }),
          await startGateway({ mcpServers: {} }, { env }),
        ]
        const tokens = [one, two].map(
          each => json<ControlFile>(readFileSync(files(state, each), 'utf8')).token,
        )
        expect(new Set(tokens).size).toBe(2)
        await one.waitForState('stubborn', 'ready')
        one.signal('SIGTERM')
        await one.waitFor(status => status.gateway.draining).catch(() => undefined)
        await one.stop('SIGTERM')
        expect(existsSync(files(state, one))).toBe(false)
        expect(existsSync(files(state, two))).toBe(true)
        await two.stop()
      },
    )
  })

  test('is missed with a word on where it was looked for; reading needs none', async () => {
    await withGateway({ mcpServers: { a: CRASHING } }, async gateway => {
      const elsewhere = freshFolder('elsewhere')
      const env = { HOLDFAST_STATE_DIR: elsewhere }
      const refused = await runCommand(['restart', 'a', '--url', gateway.url], { env })
      expect(refused.code).toBe(1)
      expect(refused.stderr).toContain(`There is no control token for ${gateway.origin} in ${elsewhere}`)
      expect((await runCommand(['status', '--url', gateway.url], { env })).code).toBe(0)
    })
  })

  test('that cannot be written does not keep the gateway from serving', async () => {
    const env = { HOLDFAST_STATE_DIR: '/proc/none' }
    await withFakes([{ script: ECHO }], async fake => {
      await withGateway(
        { mcpServers: { a: fake.entry } },
        async gateway => {
          await gateway.waitForState('a', 'ready')
          expect(gateway.stderr).toContain('set HOLDFAST_STATE_DIR to a folder that can be written')
        },
        { env },
      )
    })
  })
})

/** A command that goes on, whose output can be read meanwhile. */
function follow(gateway: TestGateway, ...args: string[]): TestGateway {
  const all = [CLI, ...args, '--url', gateway.url]
  return new TestGateway(spawn(process.execPath, all, { env: gatewayEnvironment() }), '')
}

describe('holdfast logs', () => {
  const talkative = {
    command: process.execPath,
    args: [
      '-e',
      String.raw`console.error("first \x1b[31mred\x1b[0m\ttab"); process.stdin.on("end", () => process.exit()).resume(); setInterval(() => console.error("beat"), 200)`,
    ],
    env: markedEnvironment(),
  }

  test('shows what a server wrote to stderr, without its colours, and follows it until the gateway ends', async () => {
    const gateway = await startGateway({ mcpServers: { a: talkative } })
    try {
      await expect
        .poll(async () => (await at(gateway, 'logs', 'a')).stdout)
        .toMatch(/^first red {4}tab\n(beat\n)*$/)
      const following = follow(gateway, 'logs', 'a', '--follow')
      const machine = follow(gateway, 'logs', 'a', '-f', '--json')
      const beats = (text: string) => text.split('beat').length - 1
      await expect.poll(() => Math.min(beats(following.stdout), beats(machine.stdout))).toBeGreaterThan(4)
      await gateway.stop()
      expect((await following.exit).code).toBe(69)
      expect(following.stderr).toContain('went away')
      expect(following.stdout).toMatch(/^first red {4}tab\n(beat\n)+$/)
      await machine.exit
      expect(json<{ line: string }>(machine.stdout.split('\n')[1] ?? '')).toEqual({ line: 'beat' })
    } finally {
      await gateway.stop()
    }
  })

  test('says of a remote server that there is none', async () => {
    await withFakes([{ script: ECHO }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        const { code, stdout, stderr } = await at(gateway, 'logs', 'a')
        expect([code, stdout, stderr]).toEqual([0, '', expect.stringContaining('no program of this gateway')])
        expect((await at(gateway, 'logs', 'nobody')).code).toBe(1)
      })
    })
  })
})

describe('holdfast status', () => {
  test('of one server tells everything about it, within 80 columns', async () => {
    await withGateway(
      { mcpServers: { missing: { command: 'no-such-program' }, crashing: CRASHING } },
      async gateway => {
        await gateway.waitForState('missing', 'misconfigured')
        const { code, stdout } = await at(gateway, 'status', 'missing')
        expect(code).toBe(1)
        expect(stdout).toMatch(/^✗ missing {2}misconfigured, unhealthy$/m)
        expect(stdout).toMatch(/^ {2}reason +command not found: no-such-program$/m)
        expect(stdout).toMatch(/^ {2}to do +correct its entry in the config$/m)
        expect(stdout).toMatch(/^ {2}next try +in 5 min/m)
        expect(stdout).toMatch(/^ {2}since +\d{4}-\d\d-\d\dT.* \(\d+ s ago\)$/m)
        expect(Math.max(...stdout.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
        expect(stdout).not.toContain('\x1b')
      },
    )
  })

  test('with --watch goes on, also while the gateway is away', async () => {
    const gateway = await startGateway({ mcpServers: { missing: { command: 'no-such-program' } } })
    const watching = follow(gateway, 'status', '--watch')
    try {
      await expect.poll(() => watching.stdout.split('✗ missing').length).toBeGreaterThan(2)
      await gateway.stop()
      await expect.poll(() => watching.stdout).toContain('looking again every second')
      expect(watching.running).toBe(true)
    } finally {
      watching.signal('SIGTERM')
      await watching.exit
      await gateway.stop()
    }
  })
})
