import { describe, expect } from 'vitest'
import { connectV1Http, connectV2Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { startGateway, withGateway } from '../kit/gateway.js'
import { withHung } from '../kit/ports.js'
import { quickestStart } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { CRASHING, callTool, options, refusing, withClient } from './shared.js'

describe('the front door', () => {
  verifies(['C32'], 'is open at once whatever the servers do', async () => {
    const slow = { on: 'initialize', do: { kind: 'delay', ms: 5_000 } as const }
    await withHung(hung =>
      withFakes([{ script: { faults: [slow] } }], async fake => {
        const bad = {
          hung,
          crashing: CRASHING,
          gone: await refusing(),
          missing: { command: 'no-such-program' },
          slow: fake.entry,
        }
        const start = async () => {
          const gateway = await startGateway({ mcpServers: bad })
          expect(await gateway.get('/readyz')).toEqual({ ready: true })
          expect(await gateway.get('/healthz')).toEqual({ ok: true })
          await gateway.stop()
          return gateway.readyMs
        }
        expect(await quickestStart(start, 1_000)).toBeLessThan(1_000)
      }),
    )
  })

  verifies(['C34'], 'answers a ping itself', async () => {
    await withFakes([{ script: { builtins: ['echo'] } }], async fake => {
      await withClient({ a: fake.entry, down: CRASHING }, async client => {
        expect(await client.ping()).toEqual({})
        expect(fake.records.of('ping')).toEqual([])
      })
    })
  })

  for (const transport of ['stdio', 'http'] as const) {
    verifies(['C35'], `does not touch a lazy server on ${transport} before its first use`, async () => {
      await withFakes(
        [{ transport, script: { builtins: ['echo'] } }, { script: { builtins: ['echo'] } }],
        async (lazy, eager) => {
          const touched = () => (transport === 'stdio' ? lazy.records.all : lazy.records.ofKind('connection'))
          await withGateway(
            { mcpServers: { lazy: options(lazy.entry, { lazy: true }), eager: eager.entry } },
            async gateway => {
              await gateway.waitForState('eager', 'ready')
              expect((await gateway.upstream('lazy')).state).toBe('idle')
              expect(touched()).toEqual([])
              const client = await connectV1Http(gateway.url)
              await callTool(client, 'eager__echo')
              expect(touched()).toEqual([])
              expect((await callTool(client, 'lazy__echo', { first: true })).structuredContent).toEqual({
                first: true,
              })
              expect((await gateway.upstream('lazy')).state).toBe('ready')
              await client.close()
            },
          )
        },
      )
    })
  }

  verifies(['C36'], 'starts servers side by side, one hung start or not', async () => {
    const slow = {
      builtins: ['echo'],
      faults: [{ on: 'initialize', do: { kind: 'delay', ms: 700 } as const }],
    }
    const scripts = Array.from({ length: 10 }, () => ({ script: slow }))
    await withHung(hung =>
      withFakes(scripts, async (...fakes) => {
        const entries = Object.fromEntries(fakes.map((fake, i) => [`s${i}`, fake.entry]))
        const started = performance.now()
        await withGateway({ mcpServers: { hung, ...entries } }, async gateway => {
          await gateway.waitFor(
            status => status.upstreams.filter(upstream => upstream.state === 'ready').length === 10,
          )
          // One after the other would be seven seconds.
          expect(performance.now() - started).toBeLessThan(4_000)
          expect((await gateway.upstream('hung')).state).toBe('starting')
        })
      }),
    )
  })

  for (const transport of ['stdio', 'http'] as const) {
    verifies(
      ['C37'],
      `keeps progress and logs of twenty clients apart on one shared ${transport} server`,
      async () => {
        await withFakes([{ transport, script: { builtins: ['progress', 'whoami'] } }], async fake => {
          await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
            await gateway.settled()
            const modes = ['legacy', 'modern'] as const
            const clients = await Promise.all(
              Array.from({ length: 20 }, (_, i) => connectV2Http(gateway.url, modes[i % 2] ?? 'legacy')),
            )
            await Promise.all(
              clients.map(async (client, i) => {
                const steps = 2 + (i % 5)
                const seen: number[] = []
                const request = { name: 'a__progress', arguments: { n: steps, ms: 10, after: 30 } }
                await client.callTool(request, { onprogress: ({ progress }) => seen.push(progress) })
                expect(seen).toEqual(Array.from({ length: steps }, (_, step) => step + 1))
              }),
            )
            await Promise.all(clients.map(client => client.close()))
            const opened = transport === 'stdio' ? fake.records.spawns : fake.records.sessions.length
            // The era probe may cost a stdio server one extra start.
            expect(opened).toBeLessThanOrEqual(transport === 'stdio' ? 2 : 1)
          })
        })
      },
    )
  }
})
