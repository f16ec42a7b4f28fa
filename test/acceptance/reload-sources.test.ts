import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CLI, ensureBuilt } from '../kit/build.js'
import { withFakes } from '../kit/fake-mcp.js'
import { gatewayEnvironment, runCommand, type TestGateway, withGateway, writeConfig } from '../kit/gateway.js'
import { isAlive } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'

const STDIO = { transport: 'stdio', script: { builtins: ['echo'], recordEnv: true } } as const
const HTTP = { transport: 'http', script: { builtins: ['echo'] } } as const

const generation = (gateway: TestGateway, wanted: number) =>
  gateway.waitFor(status => status.gateway.config.generation === wanted)
const off = { command: 'never-started', holdfast: { enabled: false } }
const save = (gateway: TestGateway, mcpServers: object, holdfast = {}) =>
  writeFileSync(gateway.configFile, JSON.stringify({ mcpServers, holdfast }))
/** Beside the config file. */
const beside = (gateway: TestGateway, name: string) => join(dirname(gateway.configFile), name)

describe('SIGHUP', () => {
  verifies(['RLD-HUP'], 'makes a gateway read its config again, and it runs on', async () => {
    await withFakes([STDIO], async a => {
      await withGateway(
        { mcpServers: { a: a.entry } },
        async gateway => {
          const { pid } = await gateway.waitForState('a', 'ready')
          save(gateway, { a: a.entry, b: off })
          gateway.signal('SIGHUP')
          await generation(gateway, 2)
          expect(await gateway.upstream('a')).toMatchObject({ pid })
          save(gateway, { a: a.entry })
          gateway.signal('SIGHUP')
          await generation(gateway, 3)
          expect(gateway.running).toBe(true)
        },
        { args: ['--no-watch'] },
      )
    })
  })

  verifies(['RLD-HUP'], 'of a terminal that was closed stops it', async () => {
    await ensureBuilt()
    const config = writeConfig({ mcpServers: {} })
    const command = [process.execPath, CLI, 'serve', '--json', '--port', '0', '--config', config].join(' ')
    const terminal = spawn('script', ['-qfc', command, '/dev/null'], {
      env: gatewayEnvironment(),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [line] = (await once(terminal.stdout, 'data')) as [Buffer]
    const { pid } = JSON.parse(String(line).trim()) as { pid: number }
    expect(isAlive(pid)).toBe(true)
    terminal.kill('SIGKILL')
    await until('the gateway is gone', () => !isAlive(pid))
  })
})

describe('a file that the config refers to', () => {
  verifies(['M161', 'RLD-FILES'], 'reloads the server whose secret changes, and no other', async () => {
    await withFakes([STDIO, STDIO, HTTP], async (a, b, c) => {
      const folder = freshFolder('secrets')
      const [env, token] = [join(folder, 'a.env'), join(folder, 'token')]
      writeFileSync(env, 'KEY=one')
      writeFileSync(token, 'first\n')
      const mcpServers = {
        a: { ...a.entry, envFile: env },
        b: b.entry,
        c: { ...c.entry, headers: { Authorization: `Bearer \${file:${token}}` } },
      }
      await withGateway({ mcpServers }, async gateway => {
        const before = await gateway.settled()
        const pids = before.upstreams.map(({ pid }) => pid)
        writeFileSync(env, 'KEY=two')
        await generation(gateway, 2)
        const { upstreams } = await gateway.status()
        expect(upstreams[0]?.pid).not.toBe(pids[0])
        expect(upstreams[1]?.pid).toBe(pids[1])
        const keys = a.records.ofKind('start').map(start => (start.env as { KEY?: string })['KEY'])
        expect(keys).toEqual(['one', 'two'])
        const sessions = c.records.of('initialize').length
        writeFileSync(token, 'second')
        await generation(gateway, 3)
        expect(c.records.of('initialize').length).toBeGreaterThan(sessions)
        expect(c.records.of('tools/list').at(-1)?.headers).toMatchObject({ authorization: 'Bearer second' })
        expect((await gateway.status()).upstreams[1]?.pid).toBe(pids[1])
        // Written again with the same words, it is no change.
        writeFileSync(env, 'KEY="two" # again')
        const again = await runCommand(['reload', '--url', gateway.origin, '--json'])
        expect(JSON.parse(again.stdout)).toMatchObject({ ok: true, generation: 3, changes: [] })
      })
    })
  })

  verifies(['M160'], 'and that is saved together with it is taken over in one step', async () => {
    await withFakes([STDIO, STDIO], async (a, b) => {
      await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        // The config first: for a moment it refers to a file that is not there, and to a variable that is not set.
        save(
          gateway,
          { a: a.entry, b: { ...b.entry, args: [...(b.entry.args as string[]), '${FRESH}'] } },
          { envFile: 'gateway.env' },
        )
        writeFileSync(beside(gateway, 'gateway.env'), 'FRESH=yes')
        const status = await generation(gateway, 2)
        expect(status.upstreams.map(({ name }) => name)).toEqual(['a', 'b'])
        expect(status.gateway.config).toMatchObject({ generation: 2, lastError: null, warnings: [] })
        expect(gateway.stderr).not.toContain('not taken over')
        writeFileSync(beside(gateway, 'gateway.env'), 'FRESH=no')
        await generation(gateway, 3)
        expect(b.records.ofKind('start')).toHaveLength(2)
      })
    })
  })

  test('and that is gone leaves everything as it is, until it is there again', async () => {
    await withFakes([STDIO], async a => {
      const env = join(freshFolder('secrets'), 'a.env')
      await withGateway({ mcpServers: {} }, async gateway => {
        save(gateway, { a: { ...a.entry, envFile: env } })
        const failed = await gateway.waitFor(status => status.gateway.config.lastError !== null)
        expect(failed.gateway.config.lastError?.message).toContain(`there is no file ${env}`)
        expect(failed.gateway.config.generation).toBe(1)
        const shown = await runCommand(['status', '--url', gateway.origin])
        expect(shown.stdout).toMatch(/config: not taken over .* there is no file/)
        writeFileSync(env, 'KEY=one')
        await generation(gateway, 2)
        await gateway.waitForState('a', 'ready')
      })
    })
  })
})

describe('a config file of unusual size', () => {
  verifies(['CFG-SIZE'], 'of 10 MB is refused, and one of 10,000 servers taken over', async () => {
    await withFakes([STDIO], async a => {
      await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
        const { pid } = await gateway.waitForState('a', 'ready')
        writeFileSync(gateway.configFile, `{"mcpServers":{}}${' '.repeat(10 * 1024 * 1024)}`)
        const { gateway: refused } = await gateway.waitFor(status => status.gateway.config.lastError !== null)
        expect(refused.config.lastError?.message).toMatch(
          /the file has 10485777 bytes \(keep it under 4194304/,
        )
        expect(await gateway.upstream('a')).toMatchObject({ pid })
        const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`s${at}`, off]))
        save(gateway, { ...many, a: a.entry })
        const { upstreams } = await generation(gateway, 2)
        expect(upstreams).toHaveLength(10_001)
        expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', pid })
      })
    })
  })
})

describe('what a reload tells', () => {
  const SECRET = 'hunter2hunter2'

  verifies(['M166', 'RLD-EVENTS'], 'never holds a secret, wherever it is told', async () => {
    await withFakes([STDIO, HTTP], async (a, b) => {
      const mcpServers = { a: a.entry, b: b.entry }
      const args = a.entry.args as string[]
      const changed = {
        a: { ...a.entry, args: [...args, '--token', SECRET, SECRET], env: { ...a.entry.env, KEY: SECRET } },
        b: { ...b.entry, url: `${b.entry.url}?key=${SECRET}`, headers: { 'x-key': SECRET } },
        c: { url: 'http://127.0.0.1:1/', headers: { Authorization: SECRET } },
      }
      await withGateway(
        { mcpServers },
        async gateway => {
          await gateway.settled()
          const events = await fetch(`${gateway.origin}/api/v1/events`)
          const reader = (events.body as ReadableStream<Uint8Array>).getReader()
          save(gateway, changed)
          const run = (...more: string[]) => runCommand(['reload', '--url', gateway.origin, ...more])
          const shown = [await run('--dry-run'), await run('--dry-run', '--json'), await run()]
          expect(shown[0]?.stdout).toContain('a: updated, by a new one in its place: args, env.KEY')
          expect(shown[0]?.stdout).toContain('b: updated, by a new one in its place: headers.x-key, url')
          save(gateway, { ...changed, d: { command: 'x', env: { K: `${SECRET}\${NOT_SET}` } } })
          shown.push(await run(), await run('--json'), await runCommand(['status', '--url', gateway.origin]))
          let told = ''
          while (!told.includes('NOT_SET')) told += Buffer.from((await reader.read()).value ?? []).toString()
          await reader.cancel()
          expect(told.match(/^event: config$/gm)).toHaveLength(3)
          expect(told).toContain('"updated":["a","b"]')
          const all = [told, gateway.stderr, JSON.stringify(await gateway.status()), JSON.stringify(shown)]
          expect(all.join('\n')).not.toContain(SECRET)
        },
        { args: ['--no-watch'] },
      )
    })
  })
})
