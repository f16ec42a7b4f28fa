import { describe, expect } from 'vitest'
import { type Fake, type Script, withFakes } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { waitForExit } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, missingIn, options, withClient } from './shared.js'

const STDIO = 'stdio'

async function pidOf(gateway: TestGateway): Promise<number> {
  return (await gateway.upstream('a')).pid ?? 0
}

/** A stdio fake behind a gateway, with a client. */
function withProgram(
  script: Script,
  use: (
    fake: Fake,
    client: Parameters<Parameters<typeof withClient>[1]>[0],
    gateway: TestGateway,
  ) => Promise<void>,
  holdfast: Record<string, unknown> = {},
): Promise<void> {
  return withFakes([{ transport: STDIO, script }], fake =>
    withClient({ a: options(fake.entry, holdfast) }, (client, gateway) => use(fake, client, gateway)),
  )
}

describe('a program that dies', () => {
  verifies(['I101'], 'while idle is noticed within a second, without a call, and replaced', async () => {
    await withProgram({}, async (_fake, client, gateway) => {
      const pid = await pidOf(gateway)
      const killedAt = Date.now()
      process.kill(pid, 'SIGKILL')
      const status = await gateway.waitFor(({ upstreams }) => upstreams[0]?.restarts === 1)
      expect(status.upstreams[0]?.lastError?.message).toContain('killed by SIGKILL')
      await expectWithin(Date.parse(status.upstreams[0]?.lastError?.at ?? '') - killedAt, 1_000)
      expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      expect(await pidOf(gateway)).not.toBe(pid)
    })
  })

  verifies(
    ['I102'],
    'in the middle of a call is answered within 100 ms as outcome unknown, and the next call just works',
    async () => {
      await withProgram({}, async (fake, client, gateway) => {
        const pid = await pidOf(gateway)
        const call = callTool(client, 'a__sleep', { ms: 10_000 })
        await fake.records.waitFor(records => records.runs('sleep') === 1)
        process.kill(pid, 'SIGKILL')
        await waitForExit(pid)
        const goneAt = performance.now()
        const result = await call
        const [answered, told] = [performance.now() - goneAt, await gateway.upstream('a')]
        const seen = performance.now() - goneAt
        await expectWithin(answered, 100)
        await expectWithin(seen, 200)
        expect(failureOf(result)).toMatchObject({ kind: 'outcome_unknown', upstream: 'a' })
        expect(result.content[0]?.text).toMatch(/killed by SIGKILL.*may or may not have run/)
        expect(told.lastError?.message).toContain('killed by SIGKILL')
        expect((await callTool(client, 'a__echo', { n: 2 })).structuredContent).toEqual({ n: 2 })
        expect(fake.records.runs('sleep')).toBe(1)
        expect(await pidOf(gateway)).not.toBe(pid)
      })
    },
  )

  verifies(['I102', 'Q189'], 'in the middle of a read is read again on the new process', async () => {
    const script: Script = {
      resources: [{ uri: 'demo://x', text: 'whole' }],
      faults: [{ on: 'resources/read', spawns: 1, do: { kind: 'crash', code: 7 } }],
    }
    await withProgram(script, async (fake, client) => {
      const read = await client.readResource({ uri: 'demo://a~/x' })
      expect(read.contents[0]).toMatchObject({ text: 'whole' })
      expect(fake.records.spawns).toBe(2)
    })
  })

  verifies(['I103'], 'just before a call: the call reaches the new process', async () => {
    await withProgram({}, async (fake, client, gateway) => {
      for (let round = 1; round <= 3; round += 1) {
        process.kill(await pidOf(gateway), 'SIGKILL')
        const result = await callTool(client, 'a__echo', { round })
        // Written into the pipe of the dead: then nobody can know, and nothing ran.
        if (result.isError) expect(['outcome_unknown', 'unavailable']).toContain(failureOf(result)['kind'])
        else expect(result.structuredContent).toEqual({ round })
        await gateway.waitForState('a', 'ready')
        expect((await callTool(client, 'a__echo', { round })).structuredContent).toEqual({ round })
      }
      expect(fake.records.runs('echo')).toBeLessThanOrEqual(6)
    })
  })

  verifies(
    ['I104', 'I110'],
    'in its handshake is reported with code and last words, and works once mended',
    async () => {
      const broken: Script = {
        faults: [{ on: 'start', do: { kind: 'crash', code: 3, stderr: 'no licence' } }],
      }
      await withProgram(broken, async (fake, client, gateway) => {
        const down = await gateway.waitForHealth('a', 'unhealthy')
        expect(down.reason).toMatch(/exited with code 3: no licence/)
        expect(failureOf(await callTool(client, 'a__echo'))).toMatchObject({ kind: 'unavailable' })
        await fake.patch({ faults: [] })
        await gateway.waitForState('a', 'ready')
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      })
    },
  )

  verifies(['I105'], 'quietly, with code 0, is replaced like any other', async () => {
    await withProgram({}, async (_fake, client, gateway) => {
      await callTool(client, 'a__exit', { code: 0 })
      const status = await gateway.waitFor(({ upstreams }) => upstreams[0]?.restarts === 1)
      expect(status.upstreams[0]?.lastError?.message).toContain('exited with code 0')
      expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
    })
  })

  for (const kind of ['close', 'close-stdin'] as const) {
    verifies(['I106'], `by closing its ${kind === 'close' ? 'output' : 'input'} is replaced`, async () => {
      const script: Script = {
        tools: [{ name: 'shut', result: '{"content":[]}' }],
        faults: [{ on: 'tools/call', tool: 'shut', spawns: 1, do: { kind: 'close' } }],
      }
      await withProgram(script, async (fake, client, gateway) => {
        const pid = await pidOf(gateway)
        if (kind === 'close') await callTool(client, 'a__shut')
        else await fake.closeInput()
        // A closed input shows with the next write.
        await callTool(client, 'a__echo', { n: 0 })
        await gateway.waitFor(
          ({ upstreams }) => upstreams[0]?.restarts === 1 && upstreams[0].state === 'ready',
        )
        await waitForExit(pid)
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
        expect(fake.records.spawns).toBe(2)
        expect(gateway.running).toBe(true)
      })
    })
  }

  verifies(['I107'], 'with five calls in flight gives five answers and one restart', async () => {
    await withProgram({}, async (fake, client, gateway) => {
      const pid = await pidOf(gateway)
      const calls = [1, 2, 3, 4, 5].map(() => callTool(client, 'a__sleep', { ms: 10_000 }))
      await fake.records.waitFor(records => records.runs('sleep') === 5)
      process.kill(pid, 'SIGKILL')
      const kinds = (await Promise.all(calls)).map(result => failureOf(result)['kind'])
      expect(kinds).toEqual(Array(5).fill('outcome_unknown'))
      const { restarts } = await gateway.waitForState('a', 'ready')
      expect([restarts, fake.records.spawns, fake.records.runs('sleep')]).toEqual([1, 2, 5])
    })
  })

  verifies(['I108'], 'again and again is put into quarantine, says so, and can be called back', async () => {
    const script: Script = {
      faults: [{ on: 'start', do: { kind: 'crash', code: 4 } }],
    }
    await withProgram(
      script,
      async (fake, client, gateway) => {
        const { reason, nextAttemptAt, summary } = await gateway.waitForState('a', 'quarantined')
        expect(reason).toContain('exited with code 4')
        expect(Date.parse(nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(200_000)
        expect(summary).toMatch(/quarantined: exited with code 4.*next try in/)
        const { spawns } = fake.records
        expect(failureOf(await callTool(client, 'a__echo'))).toMatchObject({ kind: 'unavailable' })
        expect(fake.records.spawns).toBe(spawns)
      },
      { restart: { max: 3, window: '120s' } },
    )
  })
})

describe('what is no death', () => {
  verifies(
    ['I111', 'I112'],
    'is an error that was answered, however often, and a call that was cancelled',
    async () => {
      const script: Script = {
        tools: [{ name: 'broken', result: '{}' }],
        builtins: ['fail', 'sleep', 'echo'],
        faults: [{ on: 'tools/call', tool: 'broken', do: { kind: 'error', code: -32603, message: 'oops' } }],
      }
      for (const transport of ['stdio', 'http'] as const) {
        await withFakes([{ transport, script }], async fake => {
          await withClient({ a: fake.entry }, async (client, gateway) => {
            for (let i = 0; i < 12; i += 1) {
              expect((await callTool(client, 'a__fail')).isError).toBe(true)
              await expect(callTool(client, 'a__broken')).rejects.toMatchObject({ code: -32603 })
            }
            const stop = new AbortController()
            const call = client.callTool({ name: 'a__sleep', arguments: { ms: 20_000 } }, undefined, {
              signal: stop.signal,
            })
            await fake.records.waitFor(records => records.runs('sleep') === 1)
            stop.abort()
            await expect(call).rejects.toThrow()
            await fake.records.waitFor(records => records.cancelled.length === 1)
            const status = await gateway.upstream('a')
            expect(status).toMatchObject({
              state: 'ready',
              breaker: 'closed',
              health: 'healthy',
              restarts: 0,
            })
            expect(fake.records.runs('sleep')).toBe(1)
          })
        })
      }
    },
  )
})

describe('a program that hangs', () => {
  verifies(['I113'], 'is found by its checks and replaced, and one that is busy is left alone', async () => {
    const health = { interval: '200ms', timeout: '200ms', failures: 3 }
    await withProgram(
      {},
      async (fake, client, gateway) => {
        const pid = await pidOf(gateway)
        const busy = await callTool(client, 'a__sleep', { ms: 1_500 })
        expect(busy.content[0]?.text).toBe('slept 1500 ms')
        expect(await pidOf(gateway)).toBe(pid)
        process.kill(pid, 'SIGSTOP')
        const status = await gateway.waitFor(({ upstreams }) => upstreams[0]?.restarts === 1)
        expect(status.upstreams[0]?.lastError?.message).toMatch(/hung: 3 health checks in a row failed/)
        await waitForExit(pid)
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
        expect(fake.records.spawns).toBe(2)
      },
      { health },
    )
  })
})

describe('a death that shows elsewhere', () => {
  verifies(['I115'], 'on a list or a prompt is the same death', async () => {
    const script: Script = {
      prompts: [{ name: 'p', text: 'said' }],
      faults: [{ on: 'prompts/get', spawns: 1, do: { kind: 'crash', code: 5 } }],
    }
    await withProgram(script, async (fake, client, gateway) => {
      expect(JSON.stringify(await client.getPrompt({ name: 'a__p' }))).toContain('said')
      expect(fake.records.spawns).toBe(2)
      expect((await gateway.upstream('a')).lastError?.message).toContain('exited with code 5')
    })
  })

  verifies(['I116'], 'when the second try fails too, both causes are told', async () => {
    const script: Script = {
      resources: [{ uri: 'demo://x', text: 'whole' }],
      faults: [
        { on: 'resources/read', spawns: 1, do: { kind: 'crash', code: 7 } },
        { on: 'start', spawns: { from: 2 }, do: { kind: 'crash', code: 8 } },
      ],
    }
    await withProgram(script, async (_fake, client) => {
      const error = await client.readResource({ uri: 'demo://a~/x' }).catch((thrown: Error) => thrown)
      expect(String(error)).toMatch(/exited with code 8[\s\S]*Before that: exited with code 7/)
    })
  })

  verifies(['I117'], 'a blip leaves the lists alone; other tools after it are announced', async () => {
    const tool = (name: string) => ({ name, result: '{"content":[]}' })
    await withProgram({ builtins: false, tools: [tool('one')] }, async (fake, client, gateway) => {
      const names = async () => (await client.listTools()).tools.map(({ name }) => name)
      const seen: string[][] = []
      client.fallbackNotificationHandler = async () => {
        seen.push(await names())
      }
      process.kill(await pidOf(gateway), 'SIGKILL')
      expect(await names()).toEqual(['a__one'])
      await gateway.waitFor(({ upstreams }) => upstreams[0]?.restarts === 1 && upstreams[0].state === 'ready')
      expect(await names()).toEqual(['a__one'])
      expect(seen).toEqual([])
      await fake.patch({ tools: [tool('one'), tool('two')] })
      process.kill(await pidOf(gateway), 'SIGKILL')
      await expect.poll(() => seen.at(-1)).toEqual(['a__one', 'a__two'])
      expect(missingIn(await client.listTools())).toEqual([])
    })
  })
})
