import { describe, expect } from 'vitest'
import { callTool, failureOf, missingIn, options, withClient } from '../acceptance/shared.js'
import { connectV1Http, connectV2Http } from '../kit/clients.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { verifies } from '../kit/verifies.js'

const KEY = 'io.modelcontextprotocol/'

/** Behind one gateway each of them answers, whatever it did before. */
async function allEcho(fakes: readonly Fake[], before: readonly object[]): Promise<void> {
  await withClient(Object.fromEntries(fakes.map((fake, i) => [`s${i}`, fake.entry])), async client => {
    for (const [i] of fakes.entries())
      expect(
        (await callTool(client, `s${i}__echo`, { i })).structuredContent,
        JSON.stringify(before[i]),
      ).toEqual({ i })
  })
}

describe('a modern server', () => {
  verifies(
    ['P33'],
    'gets envelope and headers with each request, under its own name for the tool',
    async () => {
      const tool = {
        name: 'paint',
        behaves: 'echo',
        descriptor: {
          inputSchema: {
            type: 'object',
            properties: {
              colour: { type: 'string', 'x-mcp-header': 'Colour' },
              n: { type: 'object', properties: { deep: { type: 'integer', 'x-mcp-header': 'Deep' } } },
            },
          },
        },
      }
      await withFakes([{ script: { eras: 'modern', tools: [tool] } }], async fake => {
        await withClient({ a: fake.entry }, async client => {
          await callTool(client, 'a__paint', { colour: 'größer', n: { deep: 3 } })
          const record = fake.records.callsOf('paint')[0]
          const meta = JSON.parse(record?.params ?? '{}')._meta
          expect(meta).toMatchObject({
            [`${KEY}protocolVersion`]: '2026-07-28',
            [`${KEY}clientInfo`]: { name: 'holdfast' },
            [`${KEY}clientCapabilities`]: {},
          })
          expect(meta['dev.holdfast/client']).toMatchObject({ name: 'test-client' })
          expect(record?.headers).toMatchObject({
            'mcp-protocol-version': '2026-07-28',
            'mcp-method': 'tools/call',
            'mcp-name': 'paint',
            'mcp-param-colour': `=?base64?${Buffer.from('größer').toString('base64')}?=`,
            'mcp-param-deep': '3',
          })
          expect(record?.headers?.['mcp-session-id']).toBeUndefined()
        })
      })
    },
  )

  verifies(['P34'], 'over HTTP loses a tool whose header annotations are invalid, and no other', async () => {
    const bad = (name: string, schema: unknown) => ({
      name,
      result: '{"content":[]}',
      descriptor: { inputSchema: schema },
    })
    const tools = [
      bad('number', { type: 'object', properties: { x: { type: 'number', 'x-mcp-header': 'X' } } }),
      bad('twice', {
        type: 'object',
        properties: {
          x: { type: 'string', 'x-mcp-header': 'X' },
          y: { type: 'string', 'x-mcp-header': 'x' },
        },
      }),
      bad('items', {
        type: 'object',
        properties: { x: { type: 'array', items: { type: 'string', 'x-mcp-header': 'X' } } },
      }),
      bad('empty', { type: 'object', properties: { x: { type: 'string', 'x-mcp-header': '' } } }),
      bad('good', { type: 'object', properties: { x: { type: 'string', 'x-mcp-header': 'X' } } }),
    ]
    await withFakes(
      [
        { script: { eras: 'modern', builtins: false, tools } },
        { transport: 'stdio', script: { eras: 'modern', builtins: false, tools } },
      ],
      async (http, stdio) => {
        await withClient({ http: http.entry, stdio: stdio.entry }, async (client, gateway) => {
          const names = (await client.listTools()).tools.map(tool => tool.name)
          expect(names.filter(name => name.startsWith('http'))).toEqual(['http__good'])
          expect(names.filter(name => name.startsWith('stdio'))).toHaveLength(5)
          expect(gateway.stderr).toMatch(/tool number was left out/)
        })
      },
    )
  })

  verifies(['P37'], "gets the client's answer with its state byte for byte, under a new id", async () => {
    await withFakes(
      [
        {
          script: {
            eras: 'modern',
            faults: [{ on: 'tools/call', tool: 'fail', do: { kind: 'unknown-result-type' } }],
          },
        },
      ],
      async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const client = await connectV2Http(gateway.url, 'modern', { capabilities: { elicitation: {} } })
          client.setRequestHandler(
            'elicitation/create',
            () => ({ action: 'accept', content: { name: 'x' } }) as never,
          )
          const question = {
            method: 'elicitation/create',
            params: { message: 'who?', requestedSchema: { type: 'object', properties: {} } },
          }
          const result = await client.callTool({ name: 'a__ask', arguments: question })
          expect(JSON.stringify(result)).toContain('accept')
          const [first, second] = fake.records.callsOf('ask')
          expect(second?.id).not.toBe(first?.id)
          const retry = JSON.parse(second?.params ?? '{}')
          expect(retry.inputResponses).toBeDefined()
          expect(retry.name).toBe('ask')
          await client.close()
        })
      },
    )
  })

  verifies(['P41'], 'has its list changes heard again after the stream broke', async () => {
    await withFakes([{ script: { eras: 'modern' } }], async fake => {
      await withClient({ a: fake.entry }, async (_client, gateway) => {
        await fake.records.waitFor(records => records.count('subscriptions/listen') === 1)
        await fake.crash()
        await fake.restart()
        await fake.records.waitFor(records => records.count('subscriptions/listen') === 2)
        await fake.patch({ tools: [{ name: 'new', result: '{"content":[]}' }] })
        await fake.announce('tools')
        await gateway.waitFor(status => (status.upstreams[0]?.catalog.tools ?? 0) > 0)
        await fake.records.waitFor(records => records.count('tools/list') >= 2)
      })
    })
  })
})

describe('a legacy server', () => {
  for (const transport of ['stdio', 'http', 'sse'] as const) {
    verifies(
      ['P35', 'P36'],
      `on ${transport} is found out once, and again after a restart in the other era`,
      async () => {
        await withFakes([{ transport, script: { eras: 'legacy', builtins: ['echo'] } }], async fake => {
          const entry = transport === 'sse' ? { url: fake.entry.url ?? '' } : fake.entry
          await withClient({ a: entry }, async (client, gateway) => {
            expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
            expect((await gateway.upstream('a')).transport).toBe(transport)
            const probes = fake.records.count('server/discover')
            await fake.crash()
            if (transport !== 'stdio') await fake.restart()
            await gateway
              .waitFor(
                status => (status.upstreams[0]?.restarts ?? 0) + (status.upstreams[0]?.attempts ?? 0) > 0,
              )
              .catch(() => undefined)
            await callTool(client, 'a__echo')
            await gateway.waitForState('a', 'ready')
            expect((await callTool(client, 'a__echo', { n: 2 })).structuredContent).toEqual({ n: 2 })
            // The verdict is remembered: no second probe.
            expect(fake.records.count('server/discover')).toBe(probes)
          })
        })
      },
    )
  }

  verifies(['P35'], 'may answer the probe with an error of any kind, with silence, or by dying', async () => {
    const discover = (action: object) =>
      ({ script: { builtins: ['echo'], faults: [{ on: 'server/discover', do: action }] } }) as never
    const http = [
      { kind: 'error', code: -32601, status: 200 },
      { kind: 'error', code: -32602, status: 400 },
      { kind: 'error', code: -32000, message: 'unsupported MCP-Protocol-Version' },
      {
        kind: 'raw',
        text: '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}',
        status: 400,
      },
      { kind: 'raw', text: '{"error":{"code":"invalid_request"}}', status: 400 },
      { kind: 'http', status: 404, body: 'not found' },
      { kind: 'result', raw: '{"unrelated":true}' },
    ]
    await withFakes(http.map(discover), (...fakes) => allEcho(fakes, http))
    const stdio = [{ kind: 'hang' }, { kind: 'crash', code: 1 }, { kind: 'error', code: -32603 }]
    await withFakes(
      stdio.map(action => ({ transport: 'stdio', ...(discover(action) as object) }) as never),
      (...fakes) => allEcho(fakes, stdio),
    )
  })

  verifies(
    ['P35'],
    'is not taken for one because it is down: 503 and 401 say nothing about its era',
    async () => {
      const fault = (status: number) => ({
        script: { faults: [{ on: 'POST', calls: { to: 1 }, do: { kind: 'http', status } as const }] },
      })
      await withFakes([fault(503), fault(401)], async (busy, locked) => {
        await withClient({ busy: busy.entry, locked: locked.entry }, async (_client, gateway) => {
          await gateway.waitForState('busy', 'ready')
          const { state, reason, action } = await gateway.upstream('locked')
          expect([state, action]).toEqual(['auth_required', 'sign_in'])
          expect(reason).toContain('HTTP 401')
          expect(busy.records.count('initialize')).toBe(1)
          expect(locked.records.count('initialize')).toBe(0)
        })
      })
    },
  )

  verifies(['P38'], 'may answer as JSON or as a stream, with comments', async () => {
    await withFakes([{ script: { answers: 'json' } }, { script: { answers: 'sse' } }], async (json, sse) => {
      await withClient({ json: json.entry, sse: sse.entry }, async client => {
        for (const name of ['json', 'sse'])
          expect((await callTool(client, `${name}__echo`, { name })).structuredContent).toEqual({ name })
      })
    })
  })

  verifies(
    ['P39'],
    'is told initialized, keeps its session, and gets a new one when it forgot it',
    async () => {
      await withFakes([{ script: { getStream: false } }], async fake => {
        await withClient({ a: fake.entry }, async (client, gateway) => {
          await callTool(client, 'a__echo')
          expect(fake.records.count('notifications/initialized')).toBe(1)
          expect(fake.records.callsOf('echo')[0]?.session).toBe(fake.records.sessions[0])
          fake.dropSessions()
          expect((await callTool(client, 'a__echo', { n: 0 })).structuredContent).toEqual({ n: 0 })
          await gateway.waitFor(() => fake.records.sessions.length === 2)
          await gateway.waitForState('a', 'ready')
          expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
          expect(fake.records.cancelled).toEqual([])
        })
      })
    },
  )

  verifies(
    ['P40'],
    'on stdio may print noise, is told of cancellations, and is restarted when it exits',
    async () => {
      await withFakes(
        [
          {
            transport: 'stdio',
            script: { banner: ['Welcome!', '{"not":"a message"}'], stderr: ['starting up'] },
          },
        ],
        async fake => {
          await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
            await gateway.settled()
            const client = await connectV1Http(gateway.url)
            expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
            expect(await gateway.get('/api/v1/upstreams/a/logs')).toMatchObject({
              lines: expect.arrayContaining(['starting up']),
            })
            const abort = new AbortController()
            const running = client.callTool({ name: 'a__sleep', arguments: { ms: 60_000 } }, undefined, {
              signal: abort.signal,
            })
            await fake.records.waitFor(records => records.runs('sleep') === 1)
            abort.abort()
            await expect(running).rejects.toThrow()
            await fake.records.waitFor(records => records.cancelled.length === 1)
            const before = (await gateway.upstream('a')).pid
            await fake.crash()
            await gateway.waitFor(
              status => status.upstreams[0]?.state === 'ready' && status.upstreams[0].pid !== before,
            )
            expect((await callTool(client, 'a__echo', { n: 2 })).structuredContent).toEqual({ n: 2 })
            await client.close()
          })
        },
      )
    },
  )
})

describe('a request', () => {
  verifies(
    ['P42'],
    'ends at its soft limit without a sign of life, which progress puts off, and at its total limit whatever comes',
    async () => {
      await withFakes([{ script: {} }], async fake => {
        const a = options(fake.entry, { requestTimeout: '600ms', totalTimeout: '2s' })
        await withGateway({ mcpServers: { a } }, async gateway => {
          await gateway.settled()
          const client = await connectV1Http(gateway.url)
          const timed = async (name: string, args: Record<string, unknown>) => {
            const started = performance.now()
            const request = { name, arguments: args }
            const result = (await client.callTool(request, undefined, {
              onprogress: () => undefined,
            })) as never
            return {
              ms: performance.now() - started,
              failure: failureOf(result),
              text: JSON.stringify(result),
            }
          }
          const silent = await timed('a__sleep', { ms: 60_000 })
          expect(silent.failure).toMatchObject({ kind: 'timeout', upstream: 'a', budgetMs: 600 })
          expect(silent.ms).toBeLessThan(1_900)
          const alive = await timed('a__progress', { n: 4, ms: 300, after: 50 })
          expect(alive.failure).toEqual({})
          expect(alive.ms).toBeGreaterThan(900)
          const endless = await timed('a__progress', { n: 1_000, ms: 100 })
          expect(endless.failure).toMatchObject({ kind: 'timeout', budgetMs: 2_000 })
          await fake.records.waitFor(records => records.cancelled.length >= 1)
          expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
          await client.close()
        })
      })
    },
  )

  verifies(
    ['P37'],
    'answered with both a result and an error, with neither, or under another id is a violation and nothing else',
    async () => {
      for (const transport of ['http', 'stdio'] as const) {
        const kinds = ['both', 'neither', 'wrong-id'] as const
        const faults = kinds.map((kind, i) => ({
          on: 'tools/call',
          tool: ['echo', 'count', 'whoami'][i] ?? '',
          do: { kind },
        }))
        await withFakes([{ transport, script: { faults } }], async fake => {
          await withClient({ a: options(fake.entry, { requestTimeout: '1s' }) }, async client => {
            for (const name of ['echo', 'count', 'whoami']) {
              const result = await callTool(client, `a__${name}`)
              expect(result.isError, name).toBe(true)
              expect(['outcome_unknown', 'timeout'], name).toContain(failureOf(result)['kind'])
            }
            expect((await callTool(client, 'a__fail')).isError).toBe(true)
            expect(missingIn(await client.listTools())).toEqual([])
          })
        })
      }
    },
  )
})
