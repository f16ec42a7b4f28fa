import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { startFake } from '../kit/fake-mcp.js'
import { runCommand, startGateway, withGateway, writeConfig } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { assertNoneLeft, findProcesses, markedEnvironment } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'

const node = (...args: string[]) => ({ command: process.execPath, args, env: markedEnvironment() })
const CRASHING = node('-e', 'console.error("no database"); process.exit(3)')

describe('holdfast check', () => {
  test('says of a good config that it is fine, and exits 0', async () => {
    const file = writeConfig({ mcpServers: { a: { command: 'x' }, b: { url: 'http://127.0.0.1:1/' } } })
    const { code, stdout } = await runCommand(['check', file])
    expect([code, stdout]).toEqual([0, `${file} is fine: 2 servers.\n`])
  })

  test('names every fault of a bad one with server, key, line and fix, and exits 78', async () => {
    const file = writeConfig({
      mcpServers: { a: { command: 'x', args: [1] }, b: {}, c: { url: 'ftp://x' } },
    } as never)
    const { code, stderr } = await runCommand(['check', file])
    expect(code).toBe(78)
    expect(stderr).toMatch(/:\d+:\d+: error: server "a": mcpServers\.a\.args\[0\]: must be a string/)
    expect(stderr).toMatch(/server "b": .*neither "command" nor "url"[\s\S]*fix: add "command"/)
    expect(stderr).toMatch(/server "c": .*http/)
    const json = JSON.parse((await runCommand(['check', file, '--json'])).stdout)
    expect(json.faults).toHaveLength(3)
  })

  test('says where it looked when there is no config', async () => {
    const { code, stderr } = await runCommand(['check', '/nowhere/x.json'])
    expect(code).toBe(78)
    expect(stderr).toContain('there is no file /nowhere/x.json')
  })
})

describe('holdfast tools and call', () => {
  test('work straight from the config, without a running gateway', async () => {
    const fake = await startFake({ transport: 'stdio', script: { builtins: ['echo', 'fail'] } })
    try {
      const port = await closedPort()
      const config = writeConfig({
        mcpServers: { fake: fake.entry, down: CRASHING },
        holdfast: { listen: { port } },
      })
      const tools = await runCommand(['tools', '--config', config])
      expect(tools.code).toBe(0)
      expect(tools.stdout.split('\n').filter(line => line.startsWith('fake__'))).toEqual([
        'fake__echo',
        'fake__fail',
      ])
      expect(tools.stderr).toMatch(/down is missing: .*exited with code 3: no database/)
      const called = await runCommand(['call', 'fake__echo', '--json', '--config', config, '{"n":1}'])
      expect(called.code).toBe(0)
      expect(JSON.parse(called.stdout).structuredContent).toEqual({ n: 1 })
      const words = await runCommand(['call', 'fake__echo', 'a=b', 'n=2', '--json', '--config', config])
      expect(JSON.parse(words.stdout).structuredContent).toEqual({ a: 'b', n: 2 })
      expect((await runCommand(['call', 'fake__fail', '--config', config])).code).toBe(1)
      const unknown = await runCommand(['call', 'fake__nope', '--config', config])
      expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('Unknown tool: fake__nope')])
      const down = await runCommand(['call', 'down__x', '--config', config])
      expect([down.code, down.stderr]).toEqual([69, expect.stringContaining('no database')])
      expect((await runCommand(['call', 'fake__echo', 'nonsense', '--config', config])).code).toBe(2)
    } finally {
      await fake.stop()
    }
  })

  test('use a running gateway', async () => {
    const fake = await startFake({ transport: 'http', script: { builtins: ['echo'] } })
    try {
      await withGateway({ mcpServers: { fake: fake.entry } }, async gateway => {
        await gateway.settled()
        const { stdout } = await runCommand(['tools', 'fake', '--url', gateway.url, '--json'])
        expect(JSON.parse(stdout).tools.map((tool: { name: string }) => tool.name)).toEqual(['fake__echo'])
        const called = await runCommand(['call', 'fake__echo', 'a=b', '--url', gateway.url, '--json'])
        expect(JSON.parse(called.stdout).structuredContent).toEqual({ a: 'b' })
        expect(fake.records.runs('echo')).toBe(1)
        expect((await runCommand(['tools', 'other', '--url', gateway.url])).stderr).toContain(
          'There is: fake',
        )
      })
    } finally {
      await fake.stop()
    }
  })
})

describe('holdfast status', () => {
  test('shows what is up, what is down and why, as a table of 80 columns and as JSON', async () => {
    const fake = await startFake({ transport: 'http', script: { builtins: ['echo'] } })
    try {
      await withGateway({ mcpServers: { fake: fake.entry, crashing: CRASHING } }, async gateway => {
        await gateway.waitForState('crashing', 'backoff')
        await gateway.waitForState('fake', 'ready')
        const { code, stdout } = await runCommand(['status', '--url', gateway.url])
        expect(code).toBe(0)
        expect(stdout).toMatch(/● fake +ready +\d+ s +1 tool \(http, \d{4}-\d\d-\d\d\)/)
        expect(stdout).toMatch(/✗ crashing +(backoff|starting) +\d+ s +.*exited with code 3: no database/)
        expect(Math.max(...stdout.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
        const json = JSON.parse((await runCommand(['status', '--json', '--url', gateway.url])).stdout)
        expect(json.upstreams.map((upstream: { name: string }) => upstream.name)).toEqual([
          'fake',
          'crashing',
        ])
        expect((await runCommand(['status', 'crashing', '--url', gateway.url])).code).toBe(1)
        expect((await runCommand(['status', 'nobody', '--url', gateway.url])).stderr).toContain(
          'There is: fake, crashing',
        )
      })
    } finally {
      await fake.stop()
    }
  })

  test('exits 69 when no gateway answers', async () => {
    const { code, stderr } = await runCommand(['status', '--url', `http://127.0.0.1:${await closedPort()}`])
    expect(code).toBe(69)
    expect(stderr).toContain('No gateway answers')
  })
})

describe('holdfast serve', () => {
  test('refuses an address that others can reach, with exit 78 and before anything is started', async () => {
    const config = writeConfig({ mcpServers: { a: node('-e', 'setInterval(() => {}, 1000)') } })
    const { code, stderr } = await runCommand([
      'serve',
      '--host',
      '0.0.0.0',
      '--port',
      '0',
      '--config',
      config,
    ])
    expect(code).toBe(78)
    expect(stderr).toContain('Refusing to listen on 0.0.0.0')
  })

  test('exits 78 with one clear line when its port is taken, and starts no server', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    try {
      await new Promise(resolve => server.once('listening', resolve))
      const { port } = server.address() as AddressInfo
      const config = writeConfig({
        mcpServers: { a: node('-e', 'setInterval(() => {}, 1000); "taken-port"') },
      })
      const { code, stderr } = await runCommand(['serve', '--port', String(port), '--config', config])
      expect(code).toBe(78)
      expect(stderr).toContain(`port ${port} is in use`)
      expect(findProcesses('taken-port')).toEqual([])
    } finally {
      server.close()
    }
  })

  test.each([['serve', '--port', 'x'], ['nonsense'], ['call']])(
    'exits 2 for wrong usage: %s',
    async (...args) => {
      expect((await runCommand(args)).code).toBe(2)
    },
  )

  test('keeps the good servers of a config with a faulty entry, and shows that one as misconfigured', async () => {
    const fake = await startFake({ transport: 'http', script: { builtins: ['echo'] } })
    try {
      const config = {
        mcpServers: {
          bad: { command: 'x', env: { K: '${HOLDFAST_NOT_SET}' } },
          missing: { command: 'no-such-program' },
          fake: fake.entry,
        },
      }
      await withGateway(config, async gateway => {
        await gateway.waitForState('fake', 'ready')
        await gateway.waitForState('missing', 'misconfigured')
        const [bad, missing] = (await gateway.status()).upstreams
        expect(bad).toMatchObject({ state: 'misconfigured', action: 'fix_config' })
        expect(bad?.reason).toContain('HOLDFAST_NOT_SET is not set')
        expect(missing?.reason).toContain('command not found: no-such-program')
      })
    } finally {
      await fake.stop()
    }
  })
})

describe('a stop', () => {
  const LAUNCHER = [
    '-e',
    'require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit", env: process.env })',
  ]

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s ends every server and what those started, and exits 0',
    async signal => {
      const mark = `stop-${signal}-${process.pid}`
      const marked = { ...markedEnvironment(), STOP_MARK: mark }
      const fake = await startFake({
        transport: 'stdio',
        script: { ignoreSigterm: true, ignoreStdinEnd: true, grandchild: true },
      })
      try {
        const gateway = await startGateway({
          mcpServers: {
            stubborn: { ...fake.entry, env: { ...(fake.entry as { env?: object }).env, ...marked } },
            // A launcher that leaves a grandchild behind which holds its pipes and never answers.
            launcher: { command: process.execPath, args: LAUNCHER, env: marked },
          },
        })
        await gateway.waitForState('stubborn', 'ready')
        expect(findProcesses(mark).length).toBeGreaterThanOrEqual(3)
        const started = performance.now()
        expect(await gateway.stop(signal)).toBe(0)
        expect(performance.now() - started).toBeLessThan(10_000)
        await assertNoneLeft(mark)
      } finally {
        await fake.stop()
      }
    },
  )

  test('by a second signal comes at once', async () => {
    const mark = `twice-${process.pid}`
    const fake = await startFake({
      transport: 'stdio',
      script: { ignoreSigterm: true, ignoreStdinEnd: true },
    })
    try {
      const env = { ...(fake.entry as { env?: object }).env, STOP_MARK: mark }
      const gateway = await startGateway({ mcpServers: { stubborn: { ...fake.entry, env } } })
      await gateway.waitForState('stubborn', 'ready')
      gateway.signal('SIGTERM')
      await gateway.waitFor(status => status.gateway.draining).catch(() => undefined)
      const started = performance.now()
      expect(await gateway.stop('SIGTERM')).toBe(130)
      await expectWithin(performance.now() - started, 1_000)
      await assertNoneLeft(mark)
    } finally {
      await fake.stop()
    }
  })

  test('lets a call that is running finish', async () => {
    const fake = await startFake({ transport: 'http', script: { builtins: ['sleep'] } })
    try {
      const gateway = await startGateway({ mcpServers: { fake: fake.entry } })
      await gateway.waitForState('fake', 'ready')
      const running = runCommand(['call', 'fake__sleep', 'ms=1500', '--url', gateway.url])
      await fake.records.waitFor(records => records.runs('sleep') === 1)
      expect(await gateway.stop()).toBe(0)
      expect((await running).code).toBe(0)
    } finally {
      await fake.stop()
    }
  })
})
