import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { UpstreamStatus } from '../../src/control/index.js'
import { findControlFile, requireStateFolder } from '../../src/host/index.js'
import { createGateway, type TestReport, type UpstreamEvent } from '../../src/index.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { runCommand, type TestGateway, withGateway } from '../kit/gateway.js'
import { blackHole, closedPort } from '../kit/ports.js'
import { isAlive, markedEnvironment } from '../kit/processes.js'
import { rawStream } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { expectWithin, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { CRASHING, callTool, missingIn, options, refusing } from './shared.js'

const ECHO = { builtins: ['echo'] }

const post = (gateway: TestGateway, path: string) => gateway.post(`/api/v1/upstreams/${path}`)

async function tested(gateway: TestGateway, name: string, query = ''): Promise<TestReport> {
  const { status, body } = await post(gateway, `${name}/test${query}`)
  if (status !== 200) throw new Error(`The test of ${name} was answered ${status}: ${JSON.stringify(body)}`)
  return body as TestReport
}

const http = (status: number) => ({ on: 'POST', do: { kind: 'http', status } as const })

describe('a test of a server', () => {
  verifies(['G81'], 'says how far it came, why, how long it took, and what the server is', async () => {
    const hole = await blackHole()
    const broken = (on: string) => ({
      ...ECHO,
      faults: [{ on, do: { kind: 'error', code: -32000 } as const }],
    })
    try {
      await withFakes(
        [
          { script: { ...ECHO, name: 'good', prompts: [{ name: 'p' }] } },
          { transport: 'stdio', script: ECHO },
          { script: { ...ECHO, faults: [http(401)] } },
          { script: broken('initialize') },
          { script: broken('tools/list') },
          { script: { ...broken('prompts/list'), prompts: [{ name: 'p' }] } },
        ],
        async (good, stdio, locked, shy, listless, part) => {
          const mcpServers = {
            good: good.entry,
            stdio: stdio.entry,
            locked: locked.entry,
            shy: shy.entry,
            listless: listless.entry,
            part: part.entry,
            refused: await refusing(),
            plain: { url: (good.url ?? '').replace('http:', 'https:') },
            missing: { command: 'no-such-program' },
            crashing: CRASHING,
            hung: { type: 'http', url: hole.url },
          }
          await withGateway({ mcpServers }, async gateway => {
            const test = (name: string) => tested(gateway, name, '?timeoutMs=3000&retries=1')
            expect(await test('good')).toMatchObject({
              upstream: 'good',
              ok: true,
              phase: null,
              attempts: 1,
              error: null,
              transport: 'http',
              protocolVersion: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
              serverInfo: { name: 'good' },
              counts: { tools: 1, prompts: 1 },
            })
            expect(await test('stdio')).toMatchObject({
              ok: true,
              transport: 'stdio',
              counts: { tools: 1 },
            })
            expect(await test('part')).toMatchObject({
              ok: true,
              counts: { tools: 1, prompts: 0 },
              failed: { prompts: expect.stringContaining('prompts/list') },
            })
            for (const [name, phase, reason] of [
              ['locked', 'auth', /HTTP 401/],
              ['shy', 'initialize', /initialize/],
              ['listless', 'list', /tools\/list was answered with error -32000/],
              ['refused', 'connect', /connection refused by 127\.0\.0\.1:\d+/],
              ['plain', 'tls', /TLS with 127\.0\.0\.1:\d+ failed/],
              ['missing', 'spawn', /command not found: no-such-program/],
              ['crashing', 'initialize', /exited with code 1: no database/],
            ] as const) {
              const report = await test(name)
              expect(report, name).toMatchObject({ ok: false, phase, attempts: 1, counts: null })
              expect(report.error?.message, name).toMatch(reason)
              expect(report.causeChain.length, name).toBeGreaterThan(0)
              expect(report.latencyMs, name).toBeGreaterThanOrEqual(0)
            }
            expect((await test('refused')).causeChain.join('\n')).toContain('ECONNREFUSED')
            const slow = await tested(gateway, 'hung', '?timeoutMs=300&retries=1')
            expect(slow).toMatchObject({ ok: false, phase: 'initialize', attempts: 1 })
            expect(slow.error?.message).toContain('no answer in 0.3 s')
            expect(slow.latencyMs).toBeGreaterThanOrEqual(290)
          })
        },
      )
    } finally {
      await hole.close()
    }
  })

  verifies(
    ['G82'],
    'of a name that is not configured is refused, of a faulty entry it tells the fault',
    async () => {
      const mcpServers = { bad: { command: 'x', env: { K: '${HOLDFAST_NOT_SET}' } } }
      await withGateway({ mcpServers }, async gateway => {
        const unknown = await post(gateway, 'nobody/test')
        expect(unknown).toEqual({ status: 404, body: { error: 'No server named "nobody" is configured.' } })
        expect(await tested(gateway, 'bad')).toMatchObject({
          ok: false,
          phase: null,
          attempts: 0,
          error: { kind: 'misconfigured', message: expect.stringContaining('HOLDFAST_NOT_SET is not set') },
        })
      })
    },
  )

  verifies(
    ['G83', 'G84'],
    'tries as often as was asked, but only once where another try cannot help',
    async () => {
      await withFakes(
        [{ script: { faults: [http(500)] } }, { script: { faults: [http(401)] } }],
        async (failing, locked) => {
          const lazy = { holdfast: { lazy: true } }
          const mcpServers = { failing: { ...failing.entry, ...lazy }, locked: { ...locked.entry, ...lazy } }
          await withGateway({ mcpServers }, async gateway => {
            const started = performance.now()
            const report = await tested(gateway, 'failing', '?timeoutMs=2000&retries=3')
            const took = performance.now() - started
            expect(report).toMatchObject({ ok: false, attempts: 3 })
            expect(report.error?.message).toContain('HTTP 500 from POST /mcp')
            expect(took).toBeGreaterThanOrEqual(1_490)
            // A pause after the last try would be two seconds more.
            expect(took).toBeLessThan(3_400)
            const asked = locked.records.ofKind('http').length
            expect(await tested(gateway, 'locked', '?retries=3')).toMatchObject({ ok: false, attempts: 1 })
            expect(locked.records.ofKind('http').length - asked).toBeLessThanOrEqual(2)
            expect(await post(gateway, 'failing/test?retries=0')).toMatchObject({ status: 400 })
          })
        },
      )
    },
  )

  for (const transport of ['stdio', 'http'] as const) {
    verifies(['G85'], `has a session of its own on ${transport}, and leaves the live one alone`, async () => {
      await withFakes([{ transport, script: { builtins: ['count'] } }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const before = await gateway.upstream('a')
          expect(before.state).toBe('ready')
          const opened = () => (transport === 'stdio' ? fake.records.pids : fake.records.sessions)
          const known = opened().length
          expect(await tested(gateway, 'a')).toMatchObject({ ok: true })
          const own = opened().slice(known)
          expect(own.length).toBeGreaterThanOrEqual(1)
          if (transport === 'stdio') expect(own.filter(pid => isAlive(Number(pid)))).toEqual([])
          else expect(fake.records.ofKind('session-end').map(end => end.session)).toEqual(own)
          const after = await gateway.upstream('a')
          const { lastOkAt: _, ...same } = before
          expect(after).toMatchObject(same)
        })
      })
    })
  }

  verifies(
    ['G85'],
    'brings a server back at once that the gateway would have tried again much later',
    async () => {
      await withFakes([{ transport: 'stdio', script: ECHO }], async fake => {
        const cwd = join(freshFolder('late'), 'not-yet')
        await withGateway({ mcpServers: { a: { ...fake.entry, cwd } } }, async gateway => {
          const down = await gateway.waitForState('a', 'misconfigured')
          expect(Date.parse(down.nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(60_000)
          expect(await tested(gateway, 'a')).toMatchObject({ ok: false, phase: 'spawn' })
          expect((await gateway.upstream('a')).state).toBe('misconfigured')
          mkdirSync(cwd)
          expect(await tested(gateway, 'a')).toMatchObject({ ok: true })
          await within(3_000, gateway.waitForState('a', 'ready'))
        })
      })
    },
  )

  verifies(['G86'], 'is shared by all who ask while it runs, and ends in time', async () => {
    const hole = await blackHole()
    const delay = { on: 'initialize', do: { kind: 'delay', ms: 300 } as const }
    try {
      await withFakes([{ script: { ...ECHO, faults: [delay] } }], async fake => {
        const lazy = { holdfast: { lazy: true } }
        const mcpServers = { a: { ...fake.entry, ...lazy }, hung: { type: 'http', url: hole.url, ...lazy } }
        await withGateway({ mcpServers }, async gateway => {
          const [one, two] = await Promise.all([tested(gateway, 'a'), tested(gateway, 'a')])
          expect(one).toMatchObject({ ok: true })
          expect(two).toEqual(one)
          expect(fake.records.sessions).toHaveLength(1)
          const started = performance.now()
          expect(await tested(gateway, 'hung', '?timeoutMs=400&retries=2')).toMatchObject({ attempts: 2 })
          await expectWithin(performance.now() - started, 400 + 500 + 400 + 600)
        })
      })
    } finally {
      await hole.close()
    }
  })

  verifies(['G86'], 'ends with the one who asked for it, and its child with it', async () => {
    const silent = { on: '*', do: { kind: 'hang' } as const }
    await withFakes([{ transport: 'stdio', script: { faults: [silent] } }], async fake => {
      await withGateway({ mcpServers: { hung: options(fake.entry, { lazy: true }) } }, async gateway => {
        const stop = new AbortController()
        const token = findControlFile(requireStateFolder(), gateway.origin)?.token
        const asked = fetch(`${gateway.origin}/api/v1/upstreams/hung/test?timeoutMs=20000`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          signal: stop.signal,
        })
        asked.catch(() => undefined)
        await fake.records.waitFor(records => records.spawns > 0)
        expect(fake.records.pids.some(isAlive)).toBe(true)
        stop.abort()
        await expect.poll(() => fake.records.pids.filter(isAlive)).toEqual([])
        expect((await gateway.upstream('hung')).state).toBe('idle')
      })
    })
  })
})

describe('the status of servers', () => {
  verifies(
    ['H88', 'H89', 'H91'],
    'shows every one in every state, with since when, why and what comes next',
    async () => {
      const hole = await blackHole()
      try {
        await withFakes([{ script: ECHO }, { script: { faults: [http(500)] } }], async (good, failing) => {
          const mcpServers = {
            good: good.entry,
            idle: options(good.entry, { lazy: true }),
            off: options(good.entry, { enabled: false }),
            unset: { command: 'x', env: { K: '${HOLDFAST_NOT_SET}' } },
            missing: { command: 'no-such-program' },
            crashing: CRASHING,
            failing: failing.entry,
            hung: { type: 'http', url: hole.url },
          }
          await withGateway({ mcpServers }, async gateway => {
            await gateway.waitForState('good', 'ready')
            for (const name of ['crashing', 'failing']) await gateway.waitForState(name, 'backoff')
            const { upstreams } = await gateway.status()
            expect(upstreams.map(upstream => upstream.name)).toEqual(Object.keys(mcpServers))
            const states = Object.fromEntries(upstreams.map(({ name, state }) => [name, state]))
            expect(states).toMatchObject({
              good: 'ready',
              idle: 'idle',
              off: 'disabled',
              unset: 'misconfigured',
              missing: 'misconfigured',
              hung: 'starting',
            })
            for (const upstream of upstreams) {
              expect(Date.parse(upstream.since), upstream.name).toBeGreaterThan(Date.now() - 60_000)
              if (upstream.state !== 'ready') expect(upstream.reason, upstream.name).toMatch(/\w/)
            }
            const [first] = upstreams
            expect(first).toMatchObject({
              health: 'healthy',
              reason: null,
              lastError: null,
              nextAttemptAt: null,
              breaker: 'closed',
              restarts: 0,
              inFlight: 0,
              queued: 0,
              era: expect.stringMatching(/^\d{4}/),
              catalog: { state: 'live', tools: 1 },
            })
            const { stdout } = await runCommand(['status', '--url', gateway.url])
            for (const name of Object.keys(mcpServers))
              expect(stdout).toMatch(new RegExp(`^[●○✗◐] ${name} `, 'm'))
            const why = await gateway.waitFor(status =>
              status.upstreams.every(
                ({ state, nextAttemptAt }) => state !== 'backoff' || nextAttemptAt !== null,
              ),
            )
            const reasons = Object.fromEntries(why.upstreams.map(({ name, reason }) => [name, reason]))
            expect(reasons['crashing']).toContain('exited with code 1: no database')
            expect(reasons['failing']).toContain('HTTP 500 from POST /mcp')
            expect(reasons['missing']).toContain('command not found: no-such-program')
            expect(reasons['unset']).toContain('HOLDFAST_NOT_SET is not set')
          })
        })
      } finally {
        await hole.close()
      }
    },
  )

  verifies(['H92'], 'gives away no secret of an entry, to clients or to operators', async () => {
    const canary = 'canary-1f2e3d'
    // A server that fails every request in a way of its own.
    let way = 0
    const server = createServer((_req, res) => {
      way += 1
      if (way % 3 === 0) res.destroy()
      else if (way % 3 === 1)
        res.writeHead(302, { location: `http://elsewhere.example/${canary}?k=${canary}` }).end()
      else res.writeHead(500).end('no')
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      const mcpServers = {
        remote: {
          type: 'http',
          url: `http://127.0.0.1:${port}/mcp?key=${canary}`,
          headers: { Authorization: `Bearer ${canary}` },
        },
        refused: { type: 'http', url: `http://127.0.0.1:${await closedPort()}/mcp?key=${canary}` },
        crashing: { ...CRASHING, env: { ...markedEnvironment(), SECRET: canary } },
      }
      await withGateway({ mcpServers }, async gateway => {
        await gateway.settled()
        const client = await connectV1Http(gateway.url)
        const told: unknown[] = [client.getInstructions()]
        for (let i = 0; i < 3; i += 1) {
          told.push(
            (await client.listTools())._meta,
            await gateway.status(),
            await gateway.get('/api/v1/tools'),
            await gateway.get('/api/v1/config'),
          )
          for (const name of Object.keys(mcpServers)) {
            told.push(await callTool(client, `${name}__x`).catch(String))
            told.push(await tested(gateway, name, '?timeoutMs=1000&retries=1'))
          }
        }
        await client.close()
        expect(way).toBeGreaterThan(3)
        expect(JSON.stringify(told)).not.toContain(canary)
        expect(JSON.stringify(gateway.log)).not.toContain(canary)
      })
    } finally {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  })

  verifies(['H93'], 'is the same in the command line, at the endpoint and in lists', async () => {
    await withFakes([{ script: ECHO }], async fake => {
      const mcpServers = { a: fake.entry, missing: { command: 'no-such-program' } }
      await withGateway({ mcpServers }, async gateway => {
        const client = await connectV1Http(gateway.url)
        const look = async (name: string) => {
          const wanted = ({ state, reason }: Partial<UpstreamStatus>) => `${state}: ${reason}`
          const listed = missingIn(await client.listTools()).find(entry => entry.upstream === name)
          const json = await runCommand(['status', name, '--json', '--url', gateway.url])
          return [
            wanted(await gateway.upstream(name)),
            wanted(JSON.parse(json.stdout) as UpstreamStatus),
            listed ? wanted(listed) : 'ready: null',
          ]
        }
        const same = async (name: string, text: RegExp) => {
          const seen = await look(name)
          expect(seen[0]).toMatch(text)
          expect(new Set(seen).size, seen.join('\n')).toBe(1)
        }
        await gateway.waitForState('a', 'ready')
        await gateway.waitForState('missing', 'misconfigured')
        await same('a', /^ready: null$/)
        await same('missing', /^misconfigured: command not found/)
        await post(gateway, 'a/disable')
        expect((await look('a')).slice(0, 2)).toEqual([
          expect.stringMatching(/^disabled: /),
          expect.stringMatching(/^disabled: /),
        ])
        await post(gateway, 'a/enable')
        await gateway.waitForState('a', 'ready')
        await same('a', /^ready: null$/)
        await client.close()
      })
    })
  })

  verifies(['H97'], 'of a gateway that was killed is "not reachable", whatever it left behind', async () => {
    await withGateway({ mcpServers: { missing: { command: 'no-such-program' } } }, async gateway => {
      expect((await runCommand(['status', '--url', gateway.url])).code).toBe(0)
      await gateway.stop('SIGKILL')
      expect(findControlFile(requireStateFolder(), gateway.origin)).not.toBeNull()
      for (const args of [['status'], ['restart', 'missing'], ['logs', 'missing'], ['test', 'missing']]) {
        const { code, stderr } = await runCommand([...args, '--url', gateway.url])
        expect([args[0], code]).toEqual([args[0], 69])
        expect(stderr).toContain('No gateway answers')
      }
    })
  })

  verifies(
    ['H98'],
    'is told as edges: a failure that repeats is told once, a recovery with its length',
    async () => {
      await withFakes([{ script: ECHO, down: true }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.waitForState('a', 'backoff')
          const stream = await rawStream(`${gateway.origin}/api/v1/events`, { method: 'GET' })
          const next = async () =>
            JSON.parse((await stream.next(15_000)) ?? 'null') as Record<string, unknown>
          expect(await next()).toMatchObject({ upstreams: [{ name: 'a', health: 'unhealthy' }] })
          const seen: Record<string, unknown>[] = []
          while (seen.filter(({ to }) => to === 'backoff').length < 2) seen.push(await next())
          expect(seen.filter(({ change }) => change !== 'state')).toEqual([])
          expect(seen[0]).toMatchObject({ upstream: 'a', from: 'backoff', to: 'starting' })
          await fake.restart()
          while (!seen.some(({ to }) => to === 'healthy')) seen.push(await next())
          const ids = seen.map(({ id }) => Number(id))
          expect(ids).toEqual(ids.map((_, at) => (ids[0] ?? 0) + at))
          const recovery = seen.find(({ to }) => to === 'healthy')
          expect(recovery).toMatchObject({ change: 'health', from: 'unhealthy', reason: null })
          expect(recovery?.['outageMs']).toBeGreaterThan(500)
          stream.drop()
        })
      })
    },
  )

  verifies(
    ['H99'],
    'has an endpoint of its own for all together; alive and ready do not depend on it',
    async () => {
      await withFakes([{ script: ECHO }], async fake => {
        const health = (gateway: TestGateway) => gateway.get('/api/v1/health')
        await withGateway(
          { mcpServers: { a: fake.entry, missing: { command: 'no-such-program' } } },
          async gateway => {
            await gateway.settled()
            expect(await health(gateway)).toEqual({
              health: 'degraded',
              upstreams: { a: 'healthy', missing: 'unhealthy' },
            })
            await post(gateway, 'a/disable')
            expect(await health(gateway)).toMatchObject({ health: 'unhealthy' })
            expect(await gateway.get('/healthz')).toEqual({ ok: true })
            expect(await gateway.get('/readyz')).toEqual({ ready: true })
          },
        )
      })
    },
  )
})

describe('the library', () => {
  verifies(
    ['G81', 'G85', 'H98'],
    'tests, restarts and tells of servers as the command line does',
    async () => {
      await withFakes([{ transport: 'stdio', script: ECHO }], async fake => {
        const gateway = await createGateway({
          mcpServers: { a: fake.entry, bad: { command: 'x', env: { K: '${HOLDFAST_NOT_SET}' } } },
        })
        try {
          const events: UpstreamEvent[] = []
          const leave = gateway.on('upstream', event => void events.push(event))
          const a = gateway.upstream('a')
          expect(await a.test({ retries: 1 })).toMatchObject({ ok: true, counts: { tools: 1 } })
          expect(events).toEqual([])
          await gateway.settled()
          const { pid } = a.status()
          expect(a.status().state).toBe('ready')
          expect(events.map(({ change, to }) => [change, to])).toContainEqual(['state', 'ready'])
          expect(events.at(-1)?.status).toMatchObject({ name: 'a', state: 'ready' })
          await a.restart()
          await expect.poll(() => a.status().state).toBe('ready')
          expect(a.status().pid).not.toBe(pid)
          expect(await a.disable()).toMatchObject({ state: 'disabled' })
          await a.enable()
          await expect.poll(() => a.status().state).toBe('ready')
          expect(await a.refresh()).toMatchObject({ state: 'ready', catalog: { tools: 1 } })
          leave()
          const told = events.length
          await a.disable()
          expect(events).toHaveLength(told)
          expect(() => gateway.upstream('nobody')).toThrow('No server named "nobody"')
          await expect(gateway.upstream('bad').restart()).rejects.toMatchObject({ code: 'MISCONFIGURED' })
          await expect(a.test({ retries: 0 })).rejects.toMatchObject({ code: 'INVALID_PARAMS' })
        } finally {
          await gateway.close()
        }
      })
    },
  )
})
