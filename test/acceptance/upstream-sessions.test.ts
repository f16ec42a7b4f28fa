import { describe, expect } from 'vitest'
import { type FakeTransport, withFakes } from '../kit/fake-mcp.js'
import { runCommand, withGateway } from '../kit/gateway.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, options, withClient } from './shared.js'

const WAYS: readonly (readonly [FakeTransport, 'legacy' | 'modern'])[] = [
  ['stdio', 'legacy'],
  ['stdio', 'modern'],
  ['http', 'legacy'],
  ['http', 'modern'],
  ['sse', 'legacy'],
]

describe('the handshake', () => {
  for (const [transport, eras] of WAYS) {
    verifies(
      ['CS74'],
      `with a ${eras} server on ${transport} has a time of its own, after which the cause is told and it is tried again`,
      async () => {
        const method = eras === 'legacy' ? 'initialize' : 'server/discover'
        const script = { eras, faults: [{ on: method, calls: 1, spawns: 1, do: { kind: 'hang' } }] } as const
        await withFakes([{ transport, script }], async fake => {
          const mcpServers = {
            a: options(fake.entry, { startTimeout: '1s', requestTimeout: '50s', era: eras }),
          }
          await withGateway({ mcpServers }, async gateway => {
            const [failed] = (await gateway.waitFor(({ upstreams }) => upstreams[0]?.lastError !== null))
              .upstreams
            expect(failed?.lastError?.message).toMatch(/no answer in 1 s/)
            await gateway.waitForState('a', 'ready')
          })
        })
      },
    )
  }
})

describe('the time of a call', () => {
  for (const [transport, eras] of WAYS) {
    verifies(
      ['CS75', 'CS76'],
      `at a ${eras} server on ${transport} is its server's own: over, the server is told to stop and the session lives on`,
      async () => {
        await withFakes(
          [
            { transport, script: { eras } },
            { transport, script: { eras } },
          ],
          async (short, long) => {
            const mcpServers = {
              short: options(short.entry, { requestTimeout: '400ms' }),
              long: options(long.entry, { requestTimeout: '30s' }),
            }
            await withClient(mcpServers, async client => {
              const [cut, whole] = await Promise.all([
                callTool(client, 'short__sleep', { ms: 1_500 }),
                callTool(client, 'long__sleep', { ms: 1_500 }),
              ])
              expect(failureOf(cut)).toMatchObject({ kind: 'timeout', upstream: 'short', budgetMs: 400 })
              expect(Number(failureOf(cut)['elapsedMs'])).toBeGreaterThanOrEqual(400)
              expect(whole.isError ?? false).toBe(false)
              await short.records.waitFor(records => records.ofKind('cancelled').length === 1)
              const handshakes = () =>
                short.records.count('initialize') + short.records.ofKind('start').length
              const before = handshakes()
              expect((await callTool(client, 'short__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
              expect(handshakes()).toBe(before)
            })
          },
        )
      },
    )
  }
})

describe('a session', () => {
  verifies(['CS78'], 'whose notification stream never answers serves calls all the same', async () => {
    const script = { faults: [{ on: 'GET', do: { kind: 'hang' } }] } as const
    await withFakes([{ transport: 'http', script }], async fake => {
      await withClient({ a: fake.entry }, async (client, gateway) => {
        expect((await gateway.upstream('a')).state).toBe('ready')
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      })
    })
  })

  for (const [transport, eras] of WAYS) {
    verifies(
      ['CS79'],
      `with a ${eras} server on ${transport} lists 1,500 tools in pages to the last one`,
      async () => {
        const tools = Array.from({ length: 1_500 }, (_, n) => ({ name: `t${n}` }))
        await withFakes(
          [{ transport, script: { eras, builtins: false, tools, pageSize: 100 } }],
          async fake => {
            await withClient({ a: fake.entry }, async client => {
              const names: string[] = []
              let cursor: string | undefined
              do {
                const page = await client.listTools(cursor === undefined ? undefined : { cursor })
                names.push(...page.tools.map(({ name }) => name))
                cursor = page.nextCursor
              } while (cursor !== undefined)
              expect(names).toEqual(tools.map(({ name }) => `a__${name}`))
              expect(fake.records.count('tools/list')).toBe(15)
            })
          },
        )
      },
    )
  }

  verifies(
    ['CS80'],
    'has the transport that was configured or found out, whatever its address looks like',
    async () => {
      const fakes = [
        { transport: 'http', script: { eras: 'modern' } },
        { transport: 'http', script: { eras: 'legacy' } },
        { transport: 'sse' },
      ] as const
      await withFakes([...fakes], async (modern, legacy, sse) => {
        const named = (url: string | null) => ({ url: `${url}?for=/sse` })
        const mcpServers = {
          modern: named(modern.url),
          legacy: named(legacy.url),
          old: { url: sse.url ?? '' },
        }
        await withGateway({ mcpServers }, async gateway => {
          await gateway.settled()
          const told = (await gateway.status()).upstreams.map(({ state, transport, era }) => [
            state,
            transport,
            era,
          ])
          expect(told).toEqual([
            ['ready', 'http', '2026-07-28'],
            ['ready', 'http', '2025-11-25'],
            ['ready', 'sse', '2025-11-25'],
          ])
          // What was found out once is not asked again at the next start.
          const probes = () =>
            sse.records.ofKind('http').filter(({ verb, url }) => verb === 'POST' && url === '/sse')
          const before = probes().length
          expect(before).toBeGreaterThan(0)
          expect((await runCommand(['restart', 'old', '--url', gateway.url])).code).toBe(0)
          await gateway.waitForState('old', 'ready')
          expect(probes()).toHaveLength(before)
        })
      })
    },
  )
})
