import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { afterEach, describe, expect } from 'vitest'
import { LIMITS } from '../../src/model/index.js'
import { missingIn } from '../acceptance/shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import { verifies } from '../kit/verifies.js'
import { besideGood, scripted, send } from './upstream-shared.js'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

const tool = (name: string, descriptor: Record<string, unknown> = {}) => ({
  name,
  descriptor: { inputSchema: { type: 'object' }, ...descriptor },
  result: '{"content":[]}',
})
const named = (count: number) => Array.from({ length: count }, (_, i) => tool(`t${i}`))

describe('a list of a server', () => {
  verifies(
    ['F45'],
    'whose cursor repeats or never ends is left out, with the cause, and an empty cursor is followed',
    async () => {
      await withFakes(
        [
          { script: { builtins: false, tools: named(6), pageSize: 2, loop: ['tools'] } },
          { script: { builtins: false, tools: named(LIMITS.listPages + 5), pageSize: 1 } },
          { script: { builtins: false, tools: named(4), pageSize: 2, emptyCursor: true } },
        ],
        async (looping, endless, empty) => {
          await besideGood({ ...looping.entry }, async ({ client }) => {
            expect(missingIn(await client.listTools())[0]?.reason).toContain('repeats the cursor')
            expect(looping.records.count('tools/list')).toBeLessThan(10)
          })
          await besideGood({ ...endless.entry }, async ({ client }) => {
            expect(missingIn(await client.listTools())[0]?.reason).toContain(
              `more than ${LIMITS.listPages} pages`,
            )
          })
          await besideGood({ ...empty.entry }, async ({ client }) => {
            const listed = await client.listTools()
            expect(listed.tools.filter(({ name }) => name.startsWith('bad__'))).toHaveLength(4)
          })
        },
      )
    },
  )

  verifies(['F45'], 'that breaks later keeps what was known', async () => {
    await withFakes([{ script: { builtins: false, tools: named(4), pageSize: 2 } }], async fake => {
      await besideGood({ ...fake.entry }, async ({ client, gateway }) => {
        await fake.patch({ loop: ['tools'], tools: named(6) })
        await fake.announce('tools')
        const { upstreams } = await gateway.waitFor(status => status.upstreams[0]?.catalog.state !== 'live')
        expect(upstreams[0]?.state).toBe('ready')
        const { tools } = await client.listTools()
        expect(tools.filter(({ name }) => name.startsWith('bad__'))).toHaveLength(4)
      })
    })
  })

  verifies(
    ['F46'],
    'of ten thousand tools is left out; a deep or circular schema is carried, and nothing in it is fetched',
    async () => {
      const deep = (depth: number): unknown => (depth === 0 ? {} : { properties: { a: deep(depth - 1) } })
      const fetched: string[] = []
      const elsewhere = await scripted(({ url }) => {
        fetched.push(url)
        return false
      })
      closing.push(() => elsewhere.close())
      await withFakes(
        [
          { script: { builtins: false, tools: named(10_000) } },
          {
            script: {
              builtins: false,
              tools: [
                tool('circular', {
                  inputSchema: { type: 'object', $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } },
                }),
                tool('foreign', { inputSchema: { type: 'object', $ref: elsewhere.url } }),
                tool('deep', { inputSchema: { type: 'object', ...(deep(20) as object) } }),
                tool('plain'),
              ],
            },
          },
        ],
        async (many, odd) => {
          await besideGood({ ...many.entry }, async ({ client }) => {
            expect(missingIn(await client.listTools())[0]?.reason).toContain(
              `more than ${LIMITS.componentsPerKind} entries`,
            )
          })
          await besideGood({ ...odd.entry }, async ({ client, call }) => {
            const { tools } = await client.listTools()
            const names = tools.map(({ name }) => name).filter(name => name.startsWith('bad__'))
            expect(names.sort()).toEqual(['bad__circular', 'bad__deep', 'bad__foreign', 'bad__plain'])
            expect((await call('foreign')).failure).toEqual({})
            expect(fetched).toEqual([])
          })
        },
      )
    },
  )

  verifies(
    ['F47'],
    'with one invalid tool among fifty serves the other forty-nine, and says which was left out',
    async () => {
      const server = await scripted((request, res) => {
        if (request.method !== 'tools/list') return false
        const tools: unknown[] = Array.from({ length: 49 }, (_, i) => ({
          name: `t${i}`,
          inputSchema: { type: 'object' },
        }))
        tools.splice(20, 0, { title: 'no name', inputSchema: {} })
        send(res, request.id as number, { tools })
        return true
      })
      closing.push(() => server.close())
      await besideGood({ type: 'http', url: server.url }, async ({ client, gateway, call }) => {
        const { tools } = await client.listTools()
        expect(tools.filter(({ name }) => name.startsWith('bad__'))).toHaveLength(49)
        expect(gateway.stderr).toContain('an entry of tools without name was left out')
        expect((await call('t20')).failure).toEqual({})
      })
    },
  )

  verifies(
    ['F48'],
    'that is announced as changed a thousand times at once is fetched twice at most, and told only when it changed',
    async () => {
      await withFakes([{ script: { builtins: false, tools: named(3) } }], async fake => {
        await besideGood({ ...fake.entry }, async ({ client, gateway }) => {
          let told = 0
          client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
            told += 1
          })
          const count = () => fake.records.count('tools/list')
          const before = count()
          for (let i = 0; i < 1_000; i += 1) void fake.announce('tools')
          await expect.poll(() => count() - before).toBeGreaterThan(0)
          await new Promise(resolve => setTimeout(resolve, 1_000))
          expect(count() - before).toBeLessThanOrEqual(2)
          expect(told).toBe(0)
          // A change while the list is fetched is not missed.
          await fake.patch({
            tools: named(5),
            faults: [{ on: 'tools/list', do: { kind: 'delay', ms: 300 } }],
          })
          await fake.announce('tools')
          await expect.poll(() => count() - before, { timeout: 15_000 }).toBeGreaterThan(1)
          await fake.patch({ tools: named(6) })
          await fake.announce('tools')
          const tools = async () => (await gateway.upstream('bad')).catalog.tools
          await expect.poll(tools, { timeout: 15_000 }).toBe(6)
          await expect.poll(() => told).toBeGreaterThan(0)
          expect((await gateway.upstream('bad')).state).toBe('ready')
        })
      })
    },
  )
})
