import { describe, expect } from 'vitest'
import type { ClientV1 } from '../kit/clients.js'
import { connectV1Http, connectV2Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { startGateway, withGateway } from '../kit/gateway.js'
import { withHung } from '../kit/ports.js'
import { rawPost } from '../kit/raw-http.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { CRASHING, callTool, failureOf, missingIn, options, refusing, withClient } from './shared.js'

/** One of each kind, under names that say whose it is. */
const offering = (who: string) => ({
  builtins: false,
  tools: [{ name: 'my_tool', result: `{"content":[{"type":"text","text":"${who}"}]}` }],
  resources: [{ uri: 'demo://thing/1', text: who }],
  resourceTemplates: [{ uriTemplate: 'demo://made/{id}', text: who }],
  prompts: [{ name: 'my_prompt', text: who }],
})

async function everyKind(client: ClientV1) {
  const tools = await client.listTools()
  const resources = await client.listResources()
  const templates = await client.listResourceTemplates()
  const prompts = await client.listPrompts()
  return {
    tools: tools.tools.map(tool => tool.name),
    resources: resources.resources.map(resource => resource.uri),
    templates: templates.resourceTemplates.map(template => template.uriTemplate),
    prompts: prompts.prompts.map(prompt => prompt.name),
    missing: [tools, resources, templates, prompts].map(missingIn),
  }
}

describe('a list with a part missing', () => {
  verifies(
    ['A1', 'A2', 'B17'],
    'holds what the living one of a shared prefix offers, whichever stands first',
    async () => {
      await withFakes([{ script: offering('b') }], async fake => {
        const a = options(await refusing(), { prefix: 'x' })
        const b = options(fake.entry, { prefix: 'x' })
        for (const mcpServers of [
          { a, b },
          { b, a },
        ]) {
          await withClient(mcpServers, async client => {
            const { missing, ...listed } = await everyKind(client)
            expect(listed).toEqual({
              tools: ['x__my_tool'],
              resources: ['demo://x~/thing/1'],
              templates: ['demo://x~/made/{id}'],
              prompts: ['x__my_prompt'],
            })
            for (const entries of missing) {
              expect(entries).toMatchObject([
                { upstream: 'a', state: expect.stringMatching(/^(backoff|starting)$/), stale: false },
              ])
              expect(entries[0]?.reason).toContain('connection refused')
              expect(Date.parse(entries[0]?.since ?? '')).toBeGreaterThan(0)
            }
            expect((await callTool(client, 'x__my_tool')).content[0]?.text).toBe('b')
          })
        }
      })
    },
  )

  verifies(
    ['A3', 'B26'],
    'holds and serves what one without prefix offers, behind a dead one without prefix',
    async () => {
      await withFakes([{ script: offering('b') }], async fake => {
        const mcpServers = { a: options(CRASHING, { prefix: '' }), b: options(fake.entry, { prefix: '' }) }
        await withClient(mcpServers, async client => {
          const { missing, ...listed } = await everyKind(client)
          expect(listed).toEqual({
            tools: ['my_tool'],
            resources: ['demo://thing/1'],
            templates: ['demo://made/{id}'],
            prompts: ['my_prompt'],
          })
          for (const entries of missing)
            expect(entries[0]?.reason).toContain('exited with code 1: no database')
          expect((await callTool(client, 'my_tool')).content[0]?.text).toBe('b')
          expect((await client.readResource({ uri: 'demo://thing/1' })).contents[0]).toMatchObject({
            text: 'b',
          })
          expect((await client.readResource({ uri: 'demo://made/7' })).contents[0]).toMatchObject({
            text: 'b',
          })
          expect(JSON.stringify((await client.getPrompt({ name: 'my_prompt' })).messages)).toContain('"b"')
        })
      })
    },
  )

  verifies(['A5'], 'is answered and names everybody when all are dead', async () => {
    await withClient(
      { a: await refusing(), b: CRASHING, c: { command: 'no-such-program' } },
      async client => {
        const { missing, ...listed } = await everyKind(client)
        expect(listed).toEqual({ tools: [], resources: [], templates: [], prompts: [] })
        for (const entries of missing) {
          expect(entries.map(entry => entry.upstream)).toEqual(['a', 'b', 'c'])
          expect(entries[2]).toMatchObject({
            state: 'misconfigured',
            reason: 'command not found: no-such-program',
          })
        }
      },
    )
  })

  verifies(['A6'], 'never waits for a hung one a second time', async () => {
    await withHung(hung =>
      withFakes([{ script: offering('b') }], b =>
        withGateway({ mcpServers: { hung, b: b.entry } }, async gateway => {
          const client = await connectV1Http(gateway.url)
          const first = await client.listTools()
          expect(first.tools.map(tool => tool.name)).toEqual(['b__my_tool'])
          expect(missingIn(first)).toMatchObject([{ upstream: 'hung', state: 'starting' }])
          const started = performance.now()
          for (let i = 0; i < 20; i += 1) expect((await client.listTools()).tools).toHaveLength(1)
          await expectWithin(performance.now() - started, 1_000)
          await client.close()
        }),
      ),
    )
  })

  verifies(['A7'], 'is completed by a late server, and clients are told once', async () => {
    const script = {
      ...offering('slow'),
      faults: [{ on: 'initialize', do: { kind: 'delay', ms: 1_500 } as const }],
    }
    await withFakes([{ script }], async fake => {
      await withGateway({ mcpServers: { slow: fake.entry } }, async gateway => {
        let told = 0
        const client = await connectV2Http(gateway.url, 'legacy', {
          listChanged: { tools: { autoRefresh: false, onChanged: () => told++ } },
        } as never)
        const first = await client.listTools()
        expect(first.tools).toEqual([])
        expect(missingIn(first)).toMatchObject([{ upstream: 'slow', state: 'starting' }])
        await gateway.waitForState('slow', 'ready')
        await gateway.waitFor(status => status.upstreams[0]?.catalog.tools === 1)
        expect((await client.listTools()).tools.map(tool => tool.name)).toEqual(['slow__my_tool'])
        await expect.poll(() => told).toBe(1)
        await client.close()
      })
    })
  })

  verifies(['A8'], 'of one kind leaves the others of that server alone', async () => {
    const faults = [
      { on: 'prompts/list', do: { kind: 'error', code: -32603, message: 'prompt store is down' } as const },
    ]
    await withFakes([{ script: { ...offering('a'), faults } }], async fake => {
      await withClient({ a: fake.entry }, async (client, gateway) => {
        const { missing, ...listed } = await everyKind(client)
        expect(listed).toMatchObject({ tools: ['a__my_tool'], prompts: [] })
        expect(missing[0]).toEqual([])
        expect(missing[3]).toMatchObject([{ upstream: 'a', kind: 'prompts' }])
        expect(missing[3]?.[0]?.reason).toContain('prompt store is down')
        expect((await callTool(client, 'a__my_tool')).content[0]?.text).toBe('a')
        expect((await gateway.upstream('a')).health).toBe('degraded')
      })
    })
  })

  verifies(['A9'], 'because a server has no such method is no failure', async () => {
    const faults = [{ on: 'resources/list', do: { kind: 'error', code: -32601 } as const }]
    await withFakes([{ script: { ...offering('a'), faults } }], async fake => {
      await withClient({ a: fake.entry }, async (client, gateway) => {
        const { missing, resources } = await everyKind(client)
        expect([resources, missing]).toEqual([[], [[], [], [], []]])
        expect((await gateway.upstream('a')).health).toBe('healthy')
        expect(gateway.stderr).not.toMatch(/resources\/list/)
      })
    })
  })

  verifies(
    ['A10', 'P43'],
    'is never the first page of a list whose later page fails or loops; all pages are read otherwise',
    async () => {
      const tools = Array.from({ length: 5 }, (_, i) => ({ name: `t${i}`, result: '{"content":[]}' }))
      const paged = { builtins: false, tools, pageSize: 2 }
      await withFakes(
        [
          { script: paged },
          { script: { ...paged, loop: ['tools'] } },
          { script: { ...paged, emptyCursor: true } },
        ],
        async (good, loop, empty) => {
          await withClient(
            { good: good.entry, loop: loop.entry, empty: empty.entry },
            async (client, gateway) => {
              const listed = await client.listTools()
              expect(listed.tools.map(tool => tool.name)).toEqual(
                [0, 1, 2, 3, 4].map(i => `good__t${i}`).concat([0, 1, 2, 3, 4].map(i => `empty__t${i}`)),
              )
              expect(missingIn(listed)).toMatchObject([{ upstream: 'loop', kind: 'tools' }])
              expect(missingIn(listed)[0]?.reason).toContain('repeats the cursor')
              await good.patch({
                faults: [
                  {
                    on: 'tools/list',
                    calls: { from: 4 },
                    do: { kind: 'error', code: -32000, message: 'page lost' },
                  },
                ],
              })
              await good.announce('tools')
              await gateway.waitFor(status => status.upstreams[0]?.health === 'degraded')
              const after = await client.listTools()
              expect(after.tools.filter(tool => tool.name.startsWith('good__'))).toHaveLength(5)
              expect(missingIn(after)).toMatchObject([
                { upstream: 'good', kind: 'tools', stale: true },
                { upstream: 'loop' },
              ])
            },
          )
        },
      )
    },
  )
})

describe('names', () => {
  verifies(['A11', 'B21'], 'belong to the earlier server of the config, also while it is down', async () => {
    await withFakes([{ script: offering('a') }, { script: offering('b') }], async (a, b) => {
      const mcpServers = { a: options(a.entry, { prefix: 'x' }), b: options(b.entry, { prefix: 'x' }) }
      await withClient(mcpServers, async (client, gateway) => {
        expect((await client.listTools()).tools.map(tool => tool.name)).toEqual(['x__my_tool'])
        expect((await callTool(client, 'x__my_tool')).content[0]?.text).toBe('a')
        expect((await callTool(client, 'b__my_tool')).content[0]?.text).toBe('b')
        expect((await gateway.upstream('b')).catalog.shadowed).toContainEqual({
          kind: 'tools',
          name: 'x__my_tool',
          by: 'a',
          reachableAs: 'b__my_tool',
        })
        await a.crash()
        const result = await callTool(client, 'x__my_tool')
        expect(result.isError).toBe(true)
        expect(failureOf(result)).toMatchObject({ upstream: 'a' })
        await gateway.waitFor(status => status.upstreams[0]?.health === 'unhealthy')
        // The second call finds the owner known to be down.
        const again = await callTool(client, 'x__my_tool')
        expect(again.content[0]?.text).toMatch(/^a is unavailable: .*connection refused/)
        expect(b.records.runs('my_tool')).toBe(1)
        expect((await client.listTools()).tools.map(tool => tool.name)).toEqual(['x__my_tool'])
      })
    })
  })

  verifies(
    ['A12'],
    'that two servers could both make are told apart by config order, with both named',
    async () => {
      const tool = (name: string, text: string) => ({
        builtins: false,
        tools: [{ name, result: `{"content":[{"type":"text","text":"${text}"}]}` }],
      })
      await withFakes(
        [{ script: tool('b__c', 'first') }, { script: tool('a__b__c', 'second') }],
        async (first, second) => {
          await withClient(
            { a: first.entry, other: options(second.entry, { prefix: '' }) },
            async (client, gateway) => {
              expect((await callTool(client, 'a__b__c')).content[0]?.text).toBe('first')
              const { shadowed } = (await gateway.upstream('other')).catalog
              expect(shadowed).toMatchObject([{ name: 'a__b__c', by: 'a', reachableAs: 'other__a__b__c' }])
              await gateway.waitFor(() =>
                /other.*a__b__c \(tools\) is hidden by the one of a/.test(gateway.stderr),
              )
            },
          )
        },
      )
    },
  )

  verifies(
    ['A13'],
    'that clients cannot take are replaced by stable ones that reach the original',
    async () => {
      const long = `very_${'long_'.repeat(20)}name`
      const odd = ['get data/now', long, `${long}2`]
      const tools = odd.map(name => ({ name, behaves: 'whoami' }))
      await withFakes([{ script: { builtins: false, tools } }], async fake => {
        const listed = () =>
          withClient({ a: fake.entry }, async client => {
            const names = (await client.listTools()).tools.map(tool => tool.name)
            for (const name of names) {
              expect(name).toMatch(/^[A-Za-z0-9_.-]{1,64}$/)
              expect((await callTool(client, name)).isError).not.toBe(true)
            }
            return names
          })
        const first = await listed()
        expect(new Set(first).size).toBe(3)
        expect(await listed()).toEqual(first)
        expect(fake.records.of('tools/call').map(record => record.tool)).toEqual([...odd, ...odd])
      })
    },
  )

  verifies(['A16'], 'of two entries with one URL are two servers with sessions of their own', async () => {
    await withFakes([{ script: { builtins: ['whoami'] } }], async fake => {
      await withClient({ one: fake.entry, two: fake.entry }, async (client, gateway) => {
        expect((await client.listTools()).tools.map(tool => tool.name)).toEqual([
          'one__whoami',
          'two__whoami',
        ])
        expect(new Set(fake.records.sessions).size).toBe(2)
        expect((await gateway.status()).upstreams.map(upstream => upstream.state)).toEqual(['ready', 'ready'])
      })
    })
  })
})

describe('what is said about a dead server', () => {
  verifies(['A14'], 'is one log line, however often it is asked for', async () => {
    const gateway = await startGateway({ mcpServers: { dead: { command: 'no-such-program' } } })
    try {
      await gateway.settled()
      const list =
        '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
      const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' }
      for (let i = 0; i < 200; i += 1) expect((await rawPost(gateway.url, list, headers)).status).toBe(200)
      const lines = gateway.stderr.split('\n').filter(line => line.includes('no-such-program'))
      expect(lines).toHaveLength(1)
    } finally {
      await gateway.stop()
    }
  })

  verifies(
    ['A15', 'C33'],
    'stands where a model reads it, and the handshake works with everybody down',
    async () => {
      await withGateway({ mcpServers: { a: CRASHING, b: await refusing() } }, async gateway => {
        await gateway.settled()
        const legacy = await connectV1Http(gateway.url)
        const modern = await connectV2Http(gateway.url, 'modern')
        for (const client of [legacy, modern]) {
          expect(client.getInstructions()).toMatch(
            /Not available at the moment:\n- a: .*exited with code 1: no database/,
          )
          expect(client.getServerCapabilities()).toMatchObject({
            tools: { listChanged: true },
            resources: {},
            prompts: {},
            completions: {},
            logging: {},
          })
          await client.close()
        }
      })
    },
  )
})
