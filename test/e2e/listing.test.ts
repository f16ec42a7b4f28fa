import {
  PromptListChangedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { describe, expect } from 'vitest'
import {
  CRASHING,
  callTool,
  type Missing,
  missingIn,
  options,
  refusing,
  withClient,
} from '../acceptance/shared.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { withHung } from '../kit/ports.js'
import { rawPost } from '../kit/raw-http.js'
import { expectWithin, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { modern, offering, timed } from './shared.js'

const LISTS = [
  ['tools/list', 'tools', 'name'],
  ['resources/list', 'resources', 'uri'],
  ['resources/templates/list', 'resourceTemplates', 'uriTemplate'],
  ['prompts/list', 'prompts', 'name'],
] as const

/** Every list as a modern client gets it: keys, raw items, and who is missing. */
async function modernLists(url: string) {
  const lists = []
  for (const [method, member, key] of LISTS) {
    const { result } = await modern(url, method)
    const items = result[member] as Record<string, string>[]
    lists.push({ keys: items.map(item => item[key]), raw: JSON.stringify(items), missing: missingIn(result) })
  }
  return lists
}

describe('a list with a part missing', () => {
  verifies(
    ['A1', 'A2'],
    'is byte for byte the same for a modern client, whichever of a shared prefix stands first',
    async () => {
      await withFakes([{ script: offering('b') }], async fake => {
        const a = options(await refusing(), { prefix: 'x' })
        const b = options(fake.entry, { prefix: 'x' })
        const raws: string[][] = []
        for (const mcpServers of [
          { a, b },
          { b, a },
        ]) {
          await withGateway({ mcpServers }, async gateway => {
            await gateway.settled()
            const lists = await modernLists(gateway.url)
            expect(lists.map(list => list.keys)).toEqual([
              ['x__my_tool'],
              ['demo://x~/thing/1'],
              ['demo://x~/made/{id}'],
              ['x__my_prompt'],
            ])
            for (const { missing } of lists) {
              expect(missing).toMatchObject([{ upstream: 'a', stale: false }])
              expect(missing[0]?.reason).toContain('connection refused')
            }
            raws.push(lists.map(list => list.raw))
          })
        }
        expect(raws[0]).toEqual(raws[1])
      })
    },
  )

  verifies(
    ['A3'],
    'holds what one without prefix offers for a modern client, also behind a hung one',
    async () => {
      await withHung(async hung => {
        await withFakes([{ script: offering('b') }], async fake => {
          const mcpServers = { hung: options(hung, { prefix: '' }), b: options(fake.entry, { prefix: '' }) }
          await withGateway({ mcpServers }, async gateway => {
            const lists = await modernLists(gateway.url)
            expect(lists.map(list => list.keys)).toEqual([
              ['my_tool'],
              ['demo://thing/1'],
              ['demo://made/{id}'],
              ['my_prompt'],
            ])
            for (const { missing } of lists) expect(missing.map(entry => entry.upstream)).toEqual(['hung'])
          })
        })
      })
    },
  )

  verifies(['A5'], 'is answered for a modern client with each cause when all are dead', async () => {
    await withFakes(
      [{ script: { faults: [{ on: '*', do: { kind: 'http', status: 500 } }] } }],
      async broken => {
        const mcpServers = {
          a: await refusing(),
          b: CRASHING,
          c: { command: 'no-such-program' },
          d: broken.entry,
        }
        await withGateway({ mcpServers }, async gateway => {
          await gateway.settled()
          for (const { keys, missing } of await modernLists(gateway.url)) {
            expect(keys).toEqual([])
            expect(missing.map(entry => entry.upstream)).toEqual(['a', 'b', 'c', 'd'])
            const causes = [
              /connection refused/,
              /exited with code 1: no database/,
              /command not found/,
              /HTTP 500/,
            ]
            for (const [i, cause] of causes.entries()) expect(missing[i]?.reason).toMatch(cause)
          }
        })
      },
    )
  })

  verifies(
    ['A6'],
    'comes within its budget when servers hang on connect, in the handshake, and in the list',
    async () => {
      await withHung(async hung => {
        await withFakes(
          [
            { transport: 'stdio', script: { faults: [{ on: '*', do: { kind: 'hang' } }] } },
            { script: { faults: [{ on: 'tools/list', do: { kind: 'hang' } }] } },
            { script: offering('b') },
          ],
          async (handshake, list, good) => {
            const mcpServers = { hung, handshake: handshake.entry, list: list.entry, b: good.entry }
            await withGateway({ mcpServers }, async gateway => {
              const first = await timed(() => modern(gateway.url, 'tools/list'))
              await expectWithin(first.ms, 1_500)
              const names = (answer: Record<string, unknown>) =>
                (answer['tools'] as { name: string }[]).map(tool => tool.name)
              expect(names(first.value.result)).toEqual(['b__my_tool'])
              expect(missingIn(first.value.result).map(entry => entry.upstream)).toEqual([
                'hung',
                'handshake',
                'list',
              ])
              for (const entry of missingIn(first.value.result)) expect(entry.reason).not.toBe('')
              const again = await timed(() => modern(gateway.url, 'tools/list'))
              await expectWithin(again.ms, 400)
              expect(names(again.value.result)).toEqual(['b__my_tool'])
              // Nobody was asked a second time for the second list.
              expect(list.records.count('tools/list')).toBe(1)
            })
          },
        )
      })
    },
  )

  verifies(['A6'], 'says how long a hung list was waited for', async () => {
    await withFakes(
      [{ script: { ...offering('a'), faults: [{ on: 'tools/list', do: { kind: 'hang' } }] } }],
      async fake => {
        await withClient({ a: options(fake.entry, { listTimeout: '400ms' }) }, async (client, gateway) => {
          const missing = missingIn(await client.listTools())
          expect(missing).toMatchObject([{ upstream: 'a', kind: 'tools', state: 'ready' }])
          expect(missing[0]?.reason).toMatch(/0\.4 s|400 ms/)
          expect((await client.listPrompts()).prompts.map(prompt => prompt.name)).toEqual(['a__my_prompt'])
          expect((await gateway.upstream('a')).catalog.failed).toHaveProperty('tools')
        })
      },
    )
  })

  verifies(['A7'], 'is completed by a list that comes late, told exactly once', async () => {
    const late = { on: 'tools/list', calls: 1, do: { kind: 'delay', ms: 2_000 } } as const
    await withFakes([{ script: { ...offering('slow'), faults: [late] } }], async fake => {
      await withGateway({ mcpServers: { slow: fake.entry } }, async gateway => {
        const client = await connectV1Http(gateway.url)
        const told: string[] = []
        client.setNotificationHandler(ToolListChangedNotificationSchema, () => void told.push('tools'))
        client.setNotificationHandler(PromptListChangedNotificationSchema, () => void told.push('prompts'))
        const first = await client.listTools()
        expect(first.tools).toEqual([])
        expect(missingIn(first)).toMatchObject([{ upstream: 'slow', stale: false }])
        const heard = (kind: string) => told.filter(one => one === kind).length
        await within(6_000, expect.poll(() => heard('tools')).toBe(1))
        const second = await client.listTools()
        expect(second.tools.map(tool => tool.name)).toEqual(['slow__my_tool'])
        expect(missingIn(second)).toEqual([])
        // A later change comes behind all that was still to be told.
        const before = heard('prompts')
        await fake.patch({ prompts: [{ name: 'other_prompt' }] })
        await fake.announce('prompts')
        await within(6_000, expect.poll(() => heard('prompts')).toBeGreaterThan(before))
        expect(heard('tools')).toBe(1)
        await client.close()
      })
    })
  })

  verifies(['A8', 'A9'], 'of one kind, or without a method, is the same over stdio', async () => {
    const faults = [
      { on: 'prompts/list', do: { kind: 'error', code: -32603, message: 'prompt store is down' } },
      { on: 'resources/list', do: { kind: 'error', code: -32601 } },
      { on: 'resources/templates/list', do: { kind: 'error', code: -32601 } },
    ] as const
    await withFakes([{ transport: 'stdio', script: { ...offering('a'), faults } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const [tools, resources, templates, prompts] = await modernLists(gateway.url)
        expect(tools).toMatchObject({ keys: ['a__my_tool'], missing: [] })
        expect(resources).toMatchObject({ keys: [], missing: [] })
        expect(templates).toMatchObject({ keys: [], missing: [] })
        expect(prompts?.missing).toMatchObject([{ upstream: 'a', kind: 'prompts', state: 'ready' }])
        expect(prompts?.missing[0]?.reason).toContain('prompt store is down')
        expect(Object.keys((await gateway.upstream('a')).catalog.failed)).toEqual(['prompts'])
      })
    })
  })

  verifies(
    ['A10'],
    'whose second page fails at first is empty rather than cut, and whole once the page can be had',
    async () => {
      const tools = Array.from({ length: 5 }, (_, i) => ({ name: `t${i}`, result: '{"content":[]}' }))
      const lost = {
        on: 'tools/list',
        calls: 2,
        do: { kind: 'error', code: -32000, message: 'page lost' },
      } as const
      await withFakes([{ script: { builtins: false, tools, pageSize: 2, faults: [lost] } }], async fake => {
        await withClient({ a: fake.entry }, async (client, gateway) => {
          const first = await client.listTools()
          expect(first.tools).toEqual([])
          expect(missingIn(first)).toMatchObject([{ upstream: 'a', kind: 'tools', stale: false }])
          expect(missingIn(first)[0]?.reason).toContain('page lost')
          await gateway.waitFor(status => status.upstreams[0]?.catalog.tools === 5)
          const whole = await client.listTools()
          expect(whole.tools.map(tool => tool.name)).toEqual([0, 1, 2, 3, 4].map(i => `a__t${i}`))
          expect(missingIn(whole)).toEqual([])
          expect(fake.records.count('tools/list')).toBe(2 + 3)
        })
      })
    },
  )

  verifies(
    ['A10'],
    'keeps all pages of before when a later page fails on a refresh, and a loop ends at once',
    async () => {
      const tools = Array.from({ length: 5 }, (_, i) => ({ name: `t${i}`, result: '{"content":[]}' }))
      const paged = { builtins: false, tools, pageSize: 2 }
      await withFakes([{ script: paged }, { script: { ...paged, loop: ['tools'] } }], async (good, loop) => {
        await withClient({ good: good.entry, loop: loop.entry }, async (client, gateway) => {
          const asked = loop.records.count('tools/list')
          expect(asked).toBeLessThanOrEqual(5)
          await good.patch({
            tools: tools.map(tool => ({ ...tool, name: `new_${tool.name}` })),
            faults: [
              { on: 'tools/list', calls: { from: 5 }, do: { kind: 'error', code: -32000, message: 'lost' } },
            ],
          })
          await good.announce('tools')
          await gateway.waitFor(status => status.upstreams[0]?.health === 'degraded')
          const after = await client.listTools()
          expect(after.tools.map(tool => tool.name)).toEqual([0, 1, 2, 3, 4].map(i => `good__t${i}`))
          expect(missingIn(after)).toMatchObject([{ upstream: 'good', kind: 'tools', stale: true }, {}])
        })
      })
    },
  )
})

describe('what is said about a dead server', () => {
  verifies(
    ['A14'],
    'is one log line for each change, through an outage of hundreds of requests',
    async () => {
      await withFakes([{ script: offering('a') }, { script: offering('b') }], async (fake, other) => {
        await withClient({ a: fake.entry, b: other.entry }, async (client, gateway) => {
          const lines = () =>
            gateway.log.flatMap(line =>
              typeof line !== 'string' && line['upstream'] === 'a' ? [String(line['message'])] : [],
            )
          expect(lines()).toEqual(['ready, 1 tools, 1 resources, 1 resourceTemplates, 1 prompts'])
          await fake.crash()
          await callTool(client, 'a__my_tool')
          await gateway.waitForHealth('a', 'unhealthy')
          for (let i = 0; i < 300; i += 1) {
            expect(missingIn(await client.listTools()).map(entry => entry.upstream)).toEqual(['a'])
            if (i % 10 === 0) expect((await callTool(client, 'a__my_tool')).isError).toBe(true)
          }
          const status = await gateway.waitFor(({ upstreams }) => (upstreams[0]?.attempts ?? 0) >= 3)
          expect(status.upstreams[0]?.reason).toContain('connection refused')
          expect(lines()).toHaveLength(2)
          expect(lines()[1]).toMatch(/^unhealthy: connection refused/)
          await fake.restart()
          await gateway.waitForState('a', 'ready', 30_000)
          await expect.poll(lines).toHaveLength(3)
          expect(lines()[2]).toMatch(/^ready, 1 tools/)
        })
      })
    },
  )

  verifies(['A15'], 'stands in texts for the model as long as it is true', async () => {
    await withFakes([{ script: offering('a') }], async fake => {
      await fake.crash()
      await withClient({ a: fake.entry, down: CRASHING }, async (client, gateway) => {
        const missing = /Not available at the moment:\n- a: .*connection refused.*\n- down: .*no database/
        expect(client.getInstructions()).toMatch(missing)
        expect((await modern(gateway.url, 'server/discover')).result['instructions']).toMatch(missing)
        const failed = await callTool(client, 'a__my_tool')
        expect(failed.content[0]?.text).toMatch(/a is unavailable: .*connection refused/)
        await fake.restart()
        await gateway.waitForState('a', 'ready', 30_000)
        const { result } = await modern(gateway.url, 'server/discover')
        expect(result['instructions']).toMatch(/Not available at the moment:\n- down: /)
        expect(result['instructions']).not.toContain('- a:')
      })
    })
  })

  verifies(['A1', 'A5'], 'is the same for a server under its own address', async () => {
    await withFakes([{ script: offering('b') }], async fake => {
      await withGateway({ mcpServers: { a: await refusing(), b: fake.entry } }, async gateway => {
        await gateway.settled()
        const lists = async (name: string) => modernLists(`${gateway.origin}/mcp/s/${name}`)
        for (const { keys, missing } of await lists('a')) {
          expect(keys).toEqual([])
          expect(missing.map((entry: Missing) => entry.upstream)).toEqual(['a'])
        }
        const own = await lists('b')
        expect(own.map(list => list.keys)).toEqual([
          ['my_tool'],
          ['demo://thing/1'],
          ['demo://made/{id}'],
          ['my_prompt'],
        ])
        expect(own.flatMap(list => list.missing)).toEqual([])
        expect((await rawPost(`${gateway.origin}/mcp/s/nobody`, '{}')).status).toBe(404)
      })
    })
  })
})
