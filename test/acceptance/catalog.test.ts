import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { describe, expect } from 'vitest'
import type { ClientV1 } from '../kit/clients.js'
import { type Fake, type FakeTransport, type Script, withFakes } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { runCommand } from '../kit/gateway.js'
import { verifies } from '../kit/verifies.js'
import { callTool, missingIn, options, withClient } from './shared.js'

const HANDSHAKES = ['initialize', 'server/discover']
const LISTS = ['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list']

const WHOLE: Script = {
  tools: [{ name: 'extra' }],
  resources: [{ uri: 'demo://x' }],
  resourceTemplates: [{ uriTemplate: 'demo://{id}' }],
  prompts: [{ name: 'p' }],
}

interface World {
  readonly fake: Fake
  readonly client: ClientV1
  readonly gateway: TestGateway
  /** Requests of these methods that the server has had. */
  count(methods: readonly string[]): number
}

/** A server named `a` behind a gateway, and a client of it. */
function withServer(
  transport: FakeTransport,
  script: Script,
  use: (world: World) => Promise<void>,
  holdfast: Record<string, unknown> = {},
): Promise<void> {
  return withFakes([{ transport, script }], fake =>
    withClient({ a: options(fake.entry, holdfast) }, (client, gateway) => {
      const count = (methods: readonly string[]) =>
        methods.reduce((sum, method) => sum + fake.records.count(method), 0)
      return use({ fake, client, gateway, count })
    }),
  )
}

/** What the client is told about changed tools. */
function changesTold(client: ClientV1): { count: number } {
  const told = { count: 0 }
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
    told.count += 1
  })
  return told
}

const named = (...names: string[]): Script => ({ builtins: ['echo'], tools: names.map(name => ({ name })) })

async function toolNames(client: ClientV1): Promise<string[]> {
  return (await client.listTools()).tools.map(tool => tool.name)
}

async function pause(ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms))
}

describe('one call is one request', () => {
  for (const transport of ['stdio', 'http', 'sse'] as const) {
    for (const eras of ['legacy', 'modern'] as const) {
      if (transport === 'sse' && eras === 'modern') continue
      verifies(
        ['D38', 'CS70'],
        `to a ${eras} server on ${transport}: 100 calls one by one and 100 at once are 200 requests, and nothing else`,
        async () => {
          await withServer(transport, { ...WHOLE, eras }, async ({ client, count, fake, gateway }) => {
            expect(count(LISTS)).toBe(4)
            const handshakes = count(HANDSHAKES)
            expect(
              fake.records.all.filter(
                ({ kind, method, refused }) =>
                  kind === 'request' && HANDSHAKES.includes(method ?? '') && !refused,
              ),
            ).toHaveLength(1)
            const { pid } = await gateway.upstream('a')
            for (let n = 0; n < 100; n += 1) await callTool(client, 'a__echo', { n })
            expect(fake.records.count('tools/call')).toBe(100)
            const results = await Promise.all(
              Array.from({ length: 100 }, (_, n) => callTool(client, 'a__echo', { n })),
            )
            expect(results.map(({ structuredContent }) => structuredContent)).toEqual(
              Array.from({ length: 100 }, (_, n) => ({ n })),
            )
            expect(fake.records.count('tools/call')).toBe(200)
            expect(count(LISTS), gateway.stderr).toBe(4)
            expect(count(HANDSHAKES)).toBe(handshakes)
            expect((await gateway.upstream('a')).pid).toBe(pid)
          })
        },
      )
    }
  }

  verifies(['D45'], 'a list is answered from memory, and fetched anew when a person asks', async () => {
    await withServer('http', WHOLE, async ({ client, count, gateway }) => {
      const before = count(LISTS)
      for (let i = 0; i < 20; i += 1) await client.listTools()
      expect(count(LISTS)).toBe(before)
      const { refreshedAt } = (await gateway.upstream('a')).catalog
      const { code } = await runCommand(['refresh', 'a', '--url', gateway.url])
      expect(code).toBe(0)
      expect(count(LISTS)).toBe(before + 4)
      expect((await gateway.upstream('a')).catalog.refreshedAt).not.toBe(refreshedAt)
    })
  })

  verifies(
    ['D40'],
    'with cacheTtl 0 each list asks the server, and lists at the same time share the question',
    async () => {
      await withServer(
        'http',
        { ...named('t'), faults: [{ on: 'tools/list', calls: { from: 4 }, do: { kind: 'delay', ms: 300 } }] },
        async ({ fake, client }) => {
          const count = () => fake.records.count('tools/list')
          expect(count()).toBe(1)
          await client.listTools()
          await client.listTools()
          expect(count()).toBe(3)
          await fake.patch({ tools: [{ name: 'new' }] })
          const lists = await Promise.all(Array.from({ length: 50 }, () => toolNames(client)))
          expect(count()).toBeLessThanOrEqual(5)
          for (const list of lists) expect(list).toContain('a__new')
        },
        { cacheTtl: 0 },
      )
    },
  )

  verifies(['D59'], 'a result of a tool is never kept: the same call runs again', async () => {
    await withServer('http', { eras: 'modern', ttlMs: 60_000 }, async ({ fake, client }) => {
      for (let i = 0; i < 3; i += 1) await callTool(client, 'a__echo', { same: true })
      expect(fake.records.runs('echo')).toBe(3)
    })
  })
})

describe('results of tools that the configuration names', () => {
  for (const eras of ['legacy', 'modern'] as const) {
    verifies(['D59'], `of a ${eras} server are kept by what was asked, errors never`, async () => {
      await withServer(
        'http',
        { eras },
        async ({ fake, client }) => {
          const runs = () => fake.records.runs('echo')
          for (const args of [
            { a: 1, b: [2] },
            { b: [2], a: 1 },
            { a: 1, b: [2] },
          ]) {
            expect((await callTool(client, 'a__echo', args)).structuredContent).toEqual({ a: 1, b: [2] })
          }
          expect(runs()).toBe(1)
          for (const args of [{ a: '1', b: [2] }, { a: 1, b: ['2'] }, { a: true, b: [2] }, {}]) {
            expect((await callTool(client, 'a__echo', args)).structuredContent).toEqual(args)
          }
          expect(runs()).toBe(5)
          for (let i = 0; i < 2; i += 1) expect((await callTool(client, 'a__fail')).isError).toBe(true)
          expect(fake.records.runs('fail')).toBe(2)
          for (let i = 0; i < 2; i += 1) await callTool(client, 'a__count')
          expect(fake.records.runs('count')).toBe(2)
        },
        { cacheResults: { echo: '60s', fail: '60s' } },
      )
    })
  }
})

describe('a server that goes and comes', () => {
  verifies(
    ['D52', 'A4'],
    'stays listed meanwhile, and on its return clients are told only of what really changed',
    async () => {
      await withServer('http', named('t'), async ({ fake, client, gateway }) => {
        const told = changesTold(client)
        const before = await toolNames(client)
        await fake.crash()
        await callTool(client, 'a__echo')
        await gateway.waitFor(({ upstreams }) => upstreams[0]?.breaker !== 'closed')
        const meanwhile = await client.listTools()
        expect(meanwhile.tools.map(({ name }) => name)).toEqual(before)
        expect(missingIn(meanwhile)).toMatchObject([{ upstream: 'a', stale: true }])
        expect((await gateway.upstream('a')).catalog).toMatchObject({ state: 'stale', tools: before.length })
        await fake.restart()
        await gateway.waitForHealth('a', 'healthy')
        await gateway.waitFor(({ upstreams }) => upstreams[0]?.catalog.state === 'live')
        await pause(1_000)
        expect(told.count).toBe(0)
        await fake.crash()
        await fake.patch(named('t', 'u'))
        await fake.restart()
        await expect.poll(() => toolNames(client), { timeout: 20_000 }).toContain('a__u')
        await expect.poll(() => told.count).toBe(1)
        await pause(1_000)
        expect(told.count).toBe(1)
      })
    },
  )

  for (const transport of ['stdio', 'http'] as const) {
    verifies(
      ['D53', 'A4'],
      `on ${transport} that is hidden when it is down: connected clients are told of both, and see both`,
      async () => {
        const script: Script = {
          ...WHOLE,
          faults: [{ on: 'start', spawns: { from: 2, to: 4 }, do: { kind: 'crash', code: 3 } }],
        }
        await withServer(
          transport,
          script,
          async ({ fake, client, gateway }) => {
            const told = changesTold(client)
            const all = async () => [
              (await client.listTools()).tools.length > 0,
              (await client.listResources()).resources.length > 0,
              (await client.listResourceTemplates()).resourceTemplates.length > 0,
              (await client.listPrompts()).prompts.length > 0,
            ]
            expect(await all()).toEqual([true, true, true, true])
            await fake.crash()
            if (transport === 'http') await callTool(client, 'a__echo')
            await expect.poll(all, { timeout: 10_000 }).toEqual([false, false, false, false])
            await expect.poll(() => told.count, { timeout: 10_000 }).toBe(1)
            if (transport === 'http') await fake.restart()
            await gateway.waitForHealth('a', 'healthy', 20_000)
            await expect.poll(all, { timeout: 10_000 }).toEqual([true, true, true, true])
            await expect.poll(() => told.count, { timeout: 10_000 }).toBe(2)
          },
          { unavailable: 'hide' },
        )
      },
    )
  }

  verifies(['D54'], 'nobody is told of a change because somebody looked', async () => {
    await withServer('http', WHOLE, async ({ client }) => {
      const told = changesTold(client)
      for (let i = 0; i < 50; i += 1) await client.listTools()
      await pause(1_000)
      expect(told.count).toBe(0)
    })
  })

  for (const transport of ['stdio', 'http'] as const) {
    verifies(
      ['F50', 'B28'],
      `on ${transport} that denies a tool which it listed: its answer is passed on, and its list fetched once more`,
      async () => {
        await withServer(transport, named('gone', 'stays'), async ({ fake, client }) => {
          const before = fake.records.count('tools/list')
          await fake.patch(named('stays'))
          const denied = await callTool(client, 'a__gone').catch((thrown: Error) => thrown)
          expect(denied).toMatchObject({ code: -32602 })
          expect(String((denied as Error).message)).toMatch(/a says so; its list is fetched anew/)
          await expect.poll(() => toolNames(client)).not.toContain('a__gone')
          expect(fake.records.count('tools/list')).toBe(before + 1)
          await expect(callTool(client, 'a__gone')).rejects.toMatchObject({ code: -32602 })
          expect(fake.records.count('tools/list')).toBe(before + 1)
        })
      },
    )
  }

  verifies(
    ['B29'],
    'a tool that came without notice is found by one fetch, and one that nobody has costs few',
    async () => {
      await withServer('http', named('t'), async ({ fake, client }) => {
        await fake.patch({ tools: [{ name: 't' }, { name: 'new', behaves: 'echo' }] })
        expect((await callTool(client, 'a__new', { n: 1 })).structuredContent).toEqual({ n: 1 })
        expect(fake.records.count('tools/list')).toBe(2)
        for (let i = 0; i < 20; i += 1) {
          await expect(callTool(client, 'a__nobody')).rejects.toMatchObject({ code: -32602 })
        }
        expect(fake.records.count('tools/list')).toBe(2)
      })
    },
  )
})
