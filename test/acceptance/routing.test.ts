import { describe, expect } from 'vitest'
import { connectV1Http, connectV2Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { withHung } from '../kit/ports.js'
import { rawPost } from '../kit/raw-http.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { CRASHING, callTool, failureOf, missingIn, options, refusing, withClient } from './shared.js'

const only = (...builtins: string[]) => ({ script: { builtins } })
const HUNG_START = { on: 'initialize', do: { kind: 'hang' } as const }

describe('a call', () => {
  verifies(
    ['B18'],
    'goes on as soon as one server turns out to own the name, a hung one of the same prefix or not',
    async () => {
      const slow = {
        builtins: ['echo'],
        faults: [{ on: 'initialize', do: { kind: 'delay', ms: 1_000 } as const }],
      }
      await withFakes([{ script: { faults: [HUNG_START] } }, { script: slow }], async (hung, owner) => {
        const mcpServers = {
          a: options(hung.entry, { prefix: 'x' }),
          b: options(owner.entry, { prefix: 'x' }),
        }
        await withGateway({ mcpServers }, async gateway => {
          const client = await connectV1Http(gateway.url)
          const started = performance.now()
          expect((await callTool(client, 'x__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
          expect(performance.now() - started).toBeLessThan(4_000)
          expect((await gateway.upstream('a')).state).toBe('starting')
          await client.close()
        })
      })
    },
  )

  verifies(
    ['B19'],
    'of a name that nobody offers is an unknown tool when everybody could be asked',
    async () => {
      await withFakes([only('echo')], async fake => {
        await withClient({ a: fake.entry }, async client => {
          for (const name of ['a__nope', 'nope']) {
            await expect(client.callTool({ name, arguments: {} })).rejects.toMatchObject({
              code: -32602,
              message: expect.stringContaining(`Unknown tool: ${name}`),
            })
          }
          await expect(client.getPrompt({ name: 'a__nope' })).rejects.toMatchObject({ code: -32602 })
          expect(fake.records.of('tools/call')).toEqual([])
        })
      })
    },
  )

  verifies(
    ['B20'],
    'of a name that only a dead server could own names that server, its cause and the next try',
    async () => {
      await withFakes([only('echo')], async fake => {
        await withClient({ down: CRASHING, a: fake.entry }, async client => {
          const result = await callTool(client, 'down__anything')
          expect(result.isError).toBe(true)
          expect(result.content[0]?.text).toMatch(
            /may belong to one that could not: down is unavailable: .*exited with code 1: no database/,
          )
          expect(failureOf(result)).toMatchObject({
            kind: 'unavailable',
            upstream: 'down',
            retryAfterMs: expect.any(Number),
          })
          await expect(client.readResource({ uri: 'demo://down~/x' })).rejects.toMatchObject({
            code: 50301,
            data: { kind: 'unavailable', upstream: 'down' },
          })
          await expect(client.getPrompt({ name: 'down__p' })).rejects.toMatchObject({ code: 50301 })
          // A server whose prefix cannot fit is not dragged in.
          await expect(client.callTool({ name: 'a__nope', arguments: {} })).rejects.toMatchObject({
            code: -32602,
          })
        })
      })
    },
  )

  verifies(['B22'], "whose tool fails inside is answered as it is, and nobody else's tool runs", async () => {
    await withFakes([only('fail'), only('fail')], async (a, b) => {
      const mcpServers = { a: options(a.entry, { prefix: '' }), b: options(b.entry, { prefix: '' }) }
      await withClient(mcpServers, async client => {
        const result = await callTool(client, 'fail')
        expect(result.isError).toBe(true)
        expect(failureOf(result)).toEqual({})
        expect([a.records.runs('fail'), b.records.runs('fail')]).toEqual([1, 0])
      })
    })
  })

  for (const transport of ['stdio', 'http', 'sse'] as const) {
    verifies(
      ['B23'],
      `that is lost after it was sent ran once and is told so, over ${transport}`,
      async () => {
        const action =
          transport === 'stdio' ? ({ kind: 'crash', code: 9 } as const) : ({ kind: 'close' } as const)
        const lost = {
          builtins: ['count'],
          faults: [{ on: 'tools/call', tool: 'count', calls: 1, do: action }],
        }
        await withFakes([{ transport, script: lost }, only('count')], async (a, b) => {
          const mcpServers = { a: options(a.entry, { prefix: 'x' }), b: options(b.entry, { prefix: 'x' }) }
          await withClient(mcpServers, async client => {
            const result = await callTool(client, 'x__count')
            expect(result.isError).toBe(true)
            expect(failureOf(result)).toMatchObject({ kind: 'outcome_unknown', upstream: 'a' })
            expect(result.content[0]?.text).toMatch(/may or may not have run/)
            expect(a.records.runs('count')).toBeLessThanOrEqual(1)
            expect(b.records.runs('count')).toBe(0)
          })
        })
      },
    )
  }

  verifies(['B24'], 'to a healthy server works while the list lacks the part of others', async () => {
    await withFakes([only('echo')], async fake => {
      await withClient({ down: CRASHING, gone: await refusing(), a: fake.entry }, async client => {
        expect(missingIn(await client.listTools())).toHaveLength(2)
        expect((await callTool(client, 'a__echo', { x: 1 })).structuredContent).toEqual({ x: 1 })
      })
    })
  })

  verifies(['B25'], 'takes no longer because another server hangs', async () => {
    await withHung(hung =>
      withFakes([only('echo')], a => {
        const mcpServers = {
          hung: options(hung, { prefix: '' }),
          a: options(a.entry, { prefix: '' }),
        }
        return withGateway({ mcpServers }, async gateway => {
          await gateway.waitForState('a', 'ready')
          await gateway.waitFor(status => status.upstreams[1]?.catalog.tools === 1)
          const client = await connectV1Http(gateway.url)
          const started = performance.now()
          for (let i = 0; i < 50; i += 1) await callTool(client, 'echo', { i })
          await expectWithin((performance.now() - started) / 50, 50)
          await client.close()
        })
      }),
    )
  })

  verifies(['B27', 'F70'], 'brings the result back byte for byte, and the arguments there', async () => {
    const raw =
      '{"content":[{"type":"text","text":"\\ud800","zz":1},{"type":"new-kind","n":1E400}],"structuredContent":{"b":12345678901234567890,"a":1.10},"isError":true,"_meta":{"x/y":[1.0]},"future":{"k":null}}'
    const tool = {
      name: 'raw',
      result: raw,
      descriptor: { outputSchema: { type: 'object', required: ['missing'] } },
    }
    for (const transport of ['stdio', 'http', 'sse'] as const) {
      await withFakes([{ transport, script: { builtins: ['echo'], tools: [tool] } }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const hello =
            '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
          const session = String((await rawPost(gateway.url, hello)).headers['mcp-session-id'])
          const post = (name: string, args: string) =>
            rawPost(
              gateway.url,
              `{"jsonrpc":"2.0","id":"i\\u0064","method":"tools/call","params":{ "name" : "a__${name}", "arguments":${args}}}`,
              { 'mcp-session-id': session },
            )
          expect((await post('raw', '{}')).messages).toEqual([
            `{"jsonrpc":"2.0","id":"i\\u0064","result":${raw}}`,
          ])
          const args = '{"z":12345678901234567890,"a":1E400,"f":1.10,"s":"\\ud800","__proto__":{"x":[ ]}}'
          await post('echo', args)
          expect(fake.records.callsOf('echo').at(-1)?.params).toContain(`"arguments":${args}`)
        })
      })
    }
  })

  verifies(
    ['B30', 'B31'],
    'fails with the same kind and words on connect and on a later call, for clients of both eras',
    async () => {
      await withFakes([only('echo')], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const legacy = await connectV1Http(gateway.url)
          const modern = await connectV2Http(gateway.url, 'modern')
          await fake.crash()
          const said = []
          for (let i = 0; i < 3; i += 1) {
            for (const client of [legacy, modern]) {
              const result = await callTool(client as typeof legacy, 'a__echo')
              said.push(failureOf(result))
              expect(result.content[0]?.text).toMatch(
                /^a( is unavailable)?: .*connection refused by 127\.0\.0\.1/,
              )
              expect(result.content[0]?.text).not.toContain('Internal')
            }
          }
          expect(new Set(said.map(failure => failure['kind']))).toEqual(new Set(['unavailable']))
          expect(new Set(said.map(failure => failure['upstream']))).toEqual(new Set(['a']))
          await Promise.all([legacy.close(), modern.close()])
        })
      })
    },
  )
})
