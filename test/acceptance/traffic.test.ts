import { describe, expect } from 'vitest'
import { connectV1Http } from '../kit/clients.js'
import { type Fake, type Script, withFakes } from '../kit/fake-mcp.js'
import { runCommand, type TestGateway } from '../kit/gateway.js'
import { assertNoneLeft, isAlive, waitForExit } from '../kit/processes.js'
import { expectWithin, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, missingIn, options, withClient } from './shared.js'
import { freshMark, marked, OBEDIENT, STUBBORN, startGateway } from './stopping-shared.js'

type Client = Parameters<Parameters<typeof withClient>[1]>[0]

/** Nothing but traffic tells how the server is. */
const NO_CHECKS = { health: { interval: '1h' } }

function withRemote(
  script: Script,
  use: (fake: Fake, client: Client, gateway: TestGateway) => Promise<void>,
): Promise<void> {
  return withFakes([{ script }], fake =>
    withClient({ a: options(fake.entry, NO_CHECKS) }, (client, gateway) => use(fake, client, gateway)),
  )
}

const failing = (on: string, code: number) => ({
  faults: [{ on, do: { kind: 'http', status: code } } as const],
})

async function act(gateway: TestGateway, action: string): Promise<void> {
  const { code, stderr } = await runCommand([action, 'a', '--url', gateway.url])
  if (action === 'refresh') expect(code, stderr).toBe(0)
}

describe('the status of a server', () => {
  verifies(['H90'], 'is moved by calls that fail, and by the first that succeeds again', async () => {
    await withRemote({ builtins: ['echo'] }, async (fake, client, gateway) => {
      await callTool(client, 'a__echo')
      const before = await gateway.upstream('a')
      expect(before).toMatchObject({ health: 'healthy', reason: null })
      await fake.patch(failing('tools/call', 500))
      for (let i = 0; i < 5; i += 1) await callTool(client, 'a__echo')
      const down = await gateway.upstream('a')
      expect(down.health).toBe('unhealthy')
      expect(down.breaker).not.toBe('closed')
      expect(down.reason).toBe('HTTP 500 from POST /mcp')
      expect(down.summary).toContain('HTTP 500 from POST /mcp')
      await fake.patch({ faults: [] })
      const isBack = expect.poll(async () => failureOf(await callTool(client, 'a__echo')), { interval: 100 })
      await within(8_000, isBack.toEqual({}))
      const after = await gateway.upstream('a')
      expect(after).toMatchObject({ state: 'ready', health: 'healthy', breaker: 'closed', reason: null })
      expect(after.summary).toBe('a is up with 1 tool.')
      expect(Date.parse(after.lastOkAt ?? '')).toBeGreaterThan(Date.parse(before.lastOkAt ?? ''))
    })
  })

  verifies(['H90'], 'is moved by a list that fails, and by the next that succeeds', async () => {
    await withRemote({ builtins: ['echo'], prompts: [{ name: 'p' }] }, async (fake, _client, gateway) => {
      await fake.patch(failing('prompts/list', 500))
      await act(gateway, 'refresh')
      const worse = await gateway.waitForHealth('a', 'degraded')
      expect(worse.catalog.failed['prompts']).toContain('HTTP 500 from POST /mcp')
      expect(worse.summary).toContain('HTTP 500 from POST /mcp')
      await fake.patch({ faults: [] })
      await act(gateway, 'refresh')
      const { catalog, summary } = await gateway.waitForHealth('a', 'healthy')
      expect(catalog.failed).toEqual({})
      expect(summary).toBe('a is up with 1 tool, 1 prompt.')
    })
  })

  verifies(['H96'], 'tells both that a sign-in was wanted and that it cannot be reached now', async () => {
    await withRemote({ builtins: ['echo'] }, async (fake, client, gateway) => {
      await fake.patch(failing('*', 401))
      expect(failureOf(await callTool(client, 'a__echo'))).toMatchObject({ kind: 'auth_required' })
      const { reason: wanted } = await gateway.waitForState('a', 'auth_required')
      expect(wanted).toContain('HTTP 401')
      await fake.crash()
      await act(gateway, 'restart')
      const both = await gateway.waitForState('a', 'backoff')
      expect(both.reason).toContain('connection refused')
      expect(both.reason).toContain(wanted)
      expect(both.summary).toContain(wanted)
      expect(String(failureOf(await callTool(client, 'a__echo'))['reason'])).toContain(wanted)
      await fake.patch({ faults: [] })
      await fake.restart()
      const well = await gateway.waitForHealth('a', 'healthy')
      expect(well).toMatchObject({ state: 'ready', reason: null })
      await fake.crash()
      await callTool(client, 'a__echo')
      const { reason } = await gateway.waitForHealth('a', 'unhealthy')
      expect(reason).not.toContain('401')
    })
  })
})

describe('failures that are mended at once', () => {
  verifies(['K139'], 'count: each try of a read does, and a success begins anew', async () => {
    const script = { builtins: ['echo'], resources: [{ uri: 'demo://x', text: 'x' }] }
    await withRemote(script, async (fake, client, gateway) => {
      const read = () => client.readResource({ uri: 'demo://a~/x' }).catch(() => null)
      const tried = () => fake.records.of('resources/read').length
      // Two tries each: four failures.
      for (const round of [1, 2]) {
        await fake.patch(failing('resources/read', 500))
        for (let i = 0; i < 2; i += 1) await read()
        expect(tried()).toBe(round * 4 + round - 1)
        expect((await gateway.upstream('a')).breaker).toBe('closed')
        await fake.patch({ faults: [] })
        expect(await read()).not.toBe(null)
      }
      // Everything: the trial that decides about an open breaker asks for a list.
      await fake.patch(failing('*', 500))
      for (let i = 0; i < 3; i += 1) await read()
      expect((await gateway.upstream('a')).health).toBe('unhealthy')
    })
  })

  verifies(['K139'], 'are deaths like others, and each is recorded', async () => {
    await withFakes([OBEDIENT], async fake => {
      const entry = options(fake.entry, { restart: { max: 3 } })
      await withClient({ a: entry }, async (client, gateway) => {
        for (let death = 1; death <= 3; death += 1) {
          await gateway.waitFor(
            ({ upstreams }) => upstreams[0]?.state === 'ready' && upstreams[0].restarts === death - 1,
          )
          const { pid } = await gateway.upstream('a')
          expect(failureOf(await callTool(client, 'a__echo'))).toEqual({})
          await fake.quit({ code: 3 })
          await waitForExit(pid ?? 0)
        }
        const { reason, attempts } = await gateway.waitForState('a', 'quarantined')
        expect(reason).toContain('exited with code 3')
        expect(attempts).toBe(3)
        const told = gateway.log.filter(line => JSON.stringify(line).includes('exited with code 3'))
        expect(told.length).toBeGreaterThanOrEqual(2)
        expect(missingIn(await client.listTools())).toMatchObject([{ upstream: 'a', state: 'quarantined' }])
      })
    })
  })
})

describe('a server that cannot be closed', () => {
  verifies(
    ['I114'],
    'is ended by the ladder, while the others serve, and a stop takes no longer than the ladder',
    () =>
      withFakes(
        [
          STUBBORN,
          OBEDIENT,
          { script: { builtins: ['echo'], faults: [{ on: 'DELETE', do: { kind: 'hang' } }] } },
        ],
        async (stubborn, good, remote) => {
          const mark = freshMark()
          const gateway = await startGateway({
            mcpServers: {
              a: marked(stubborn, mark),
              good: marked(good, mark),
              remote: remote.entry,
            },
          })
          await gateway.waitFor(({ upstreams }) => upstreams.every(({ state }) => state === 'ready'))
          const { pid } = await gateway.upstream('a')
          const { pid: goodPid } = await gateway.upstream('good')
          const client = await connectV1Http(gateway.url)
          const restarting = act(gateway, 'restart')
          const begun = performance.now()
          let slowest = 0
          while (pid !== null && isAlive(pid)) {
            for (const name of ['good', 'remote']) {
              const started = performance.now()
              expect(failureOf(await callTool(client, `${name}__echo`))).toEqual({})
              slowest = Math.max(slowest, performance.now() - started)
            }
          }
          // Stdin is closed, 2 s later SIGTERM, 3 s later SIGKILL.
          expect(performance.now() - begun).toBeGreaterThan(4_000)
          await expectWithin(slowest, 1_000)
          await restarting
          const again = await gateway.waitForState('a', 'ready')
          expect(again.pid).not.toBe(pid)
          expect((await gateway.upstream('good')).pid).toBe(goodPid)
          await client.close()
          const stopped = performance.now()
          expect(await gateway.stop()).toBe(0)
          expect(performance.now() - stopped).toBeLessThan(8_000)
          await assertNoneLeft(mark, 0)
        },
      ),
  )
})
