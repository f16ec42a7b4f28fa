import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/index.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { blackHole, closedPort } from '../kit/ports.js'
import { rawRequest } from '../kit/raw-http.js'
import { verifies } from '../kit/verifies.js'

const HTTP = { transport: 'http', script: { builtins: ['echo', 'sleep'] } } as const

const isOpen = (port: number) =>
  rawRequest(`http://127.0.0.1:${port}/healthz`, { method: 'GET' }).then(
    ({ status }) => status === 200,
    () => false,
  )

async function withListening(
  mcpServers: object,
  use: (gateway: Gateway, port: number) => Promise<void>,
): Promise<void> {
  const port = await closedPort()
  const gateway = await createGateway({ mcpServers: { ...mcpServers }, holdfast: { listen: { port } } })
  try {
    await gateway.listen()
    await gateway.settled()
    await use(gateway, port)
  } finally {
    await gateway.close()
  }
}

describe('a reload with another address', () => {
  verifies(['RLD-LISTEN'], 'moves there, and what was asked at the old one is still answered', async () => {
    await withFakes([HTTP], async a => {
      const mcpServers = { a: { ...a.entry } }
      await withListening(mcpServers, async (gateway, port) => {
        const client = await connectV1Http(`http://127.0.0.1:${port}/mcp`)
        const slow = client.callTool({ name: 'a__sleep', arguments: { ms: 800 } })
        await a.records.waitFor(records => records.runs('sleep') === 1)
        const next = await closedPort()
        const result = await gateway.reload({ mcpServers, holdfast: { listen: { port: next } } })
        expect(result).toMatchObject({ ok: true, generation: 2, settings: ['listen'], warnings: [] })
        expect(gateway.status().gateway.url).toBe(`http://127.0.0.1:${next}/mcp`)
        expect([await isOpen(next), await isOpen(port)]).toEqual([true, false])
        expect(JSON.stringify(await slow)).toContain('slept 800 ms')
        await client.close()
        expect(a.records.of('initialize')).toHaveLength(1)
      })
    })
  })

  verifies(['RLD-LISTEN'], 'that is taken, or open to others, changes nothing and says why', async () => {
    await withListening({}, async (gateway, port) => {
      const taken = await blackHole()
      try {
        for (const [listen, why] of [
          [{ port: taken.port }, /port \d+ is in use/],
          [{ host: '0.0.0.0', port: await closedPort() }, /Refusing to listen on 0\.0\.0\.0/],
        ] as const) {
          const mcpServers = { b: { command: 'never-started', holdfast: { enabled: false } } }
          const result = await gateway.reload({ mcpServers, holdfast: { listen } })
          expect(result).toMatchObject({ ok: false, generation: 1, errors: [expect.stringMatching(why)] })
          expect(gateway.status().upstreams).toEqual([])
          expect(await isOpen(port)).toBe(true)
        }
      } finally {
        await taken.close()
      }
    })
  })

  test('that is another name of the same one says that it needs a restart', async () => {
    await withListening({}, async (gateway, port) => {
      const result = await gateway.reload({ holdfast: { listen: { host: 'localhost', port } } })
      expect(result).toMatchObject({ ok: true, warnings: [expect.stringMatching(/restart of the gateway/)] })
      expect(gateway.status().gateway.config.warnings).toEqual(result.warnings)
      expect(await isOpen(port)).toBe(true)
    })
  })

  test('does nothing to one that was named when it was started, and says so', async () => {
    await withGateway({ mcpServers: {} }, async gateway => {
      const port = await closedPort()
      writeFileSync(gateway.configFile, JSON.stringify({ mcpServers: {}, holdfast: { listen: { port } } }))
      const status = await gateway.waitFor(({ gateway: { config } }) => config.generation === 2)
      expect(status.gateway.config.warnings).toEqual([expect.stringContaining('started with decides')])
      expect(await isOpen(port)).toBe(false)
    })
  })
})
