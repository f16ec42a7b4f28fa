import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { withFakes } from '../kit/fake-mcp.js'
import { closedPort } from '../kit/ports.js'
import { rawRequest } from '../kit/raw-http.js'
import { envFileWith } from './entry-proofs.js'
import type { Bench, Proof } from './proof.js'

const NONE = { mcpServers: {} }

/** What a request with that header gets. */
async function answerTo({ open }: Bench, holdfast: Record<string, unknown>, headers: Record<string, string>) {
  const gateway = await open({ ...NONE, holdfast })
  const { url } = await gateway.listen({ port: 0 })
  return (await rawRequest(new URL('/healthz', url).href, { method: 'GET', headers })).status
}

export const GATEWAY_PROOFS: readonly Proof[] = [
  {
    keys: ['gateway.listen.host'],
    does: 'is the address that is listened on',
    prove: async ({ open }) => {
      const gateway = await open({ ...NONE, holdfast: { listen: { host: '127.0.0.2' } } })
      expect((await gateway.listen({ port: 0 })).url).toContain('//127.0.0.2:')
    },
  },
  {
    keys: ['gateway.listen.port'],
    does: 'is the port that is listened on',
    prove: async ({ open }) => {
      const port = await closedPort()
      const gateway = await open({ ...NONE, holdfast: { listen: { port } } })
      expect((await gateway.listen()).port).toBe(port)
    },
  },
  {
    keys: ['gateway.auth.mode'],
    does: 'with a mode that is not there keeps the gateway from starting',
    prove: async ({ open }) => {
      await expect(open({ ...NONE, holdfast: { auth: { mode: 'jwt' } } })).rejects.toMatchObject({
        code: 'MISCONFIGURED',
      })
    },
  },
  {
    keys: ['gateway.allowedHosts'],
    does: 'lets further names of the gateway in',
    prove: async bench => {
      const headers = { host: 'gateway.example' }
      expect(await answerTo(bench, {}, headers)).toBe(403)
      expect(await answerTo(bench, { allowedHosts: ['gateway.example'] }, headers)).toBe(200)
    },
  },
  {
    keys: ['gateway.allowedOrigins'],
    does: 'lets further origins in',
    prove: async bench => {
      const headers = { origin: 'https://app.example' }
      expect(await answerTo(bench, {}, headers)).toBe(403)
      expect(await answerTo(bench, { allowedOrigins: ['https://app.example'] }, headers)).toBe(200)
    },
  },
  {
    keys: ['gateway.envFile'],
    does: 'holds values for variables in every entry',
    prove: async ({ open }) =>
      withFakes([{ script: { builtins: ['echo'] } }], async fake => {
        const entry = { ...fake.entry, headers: { 'x-key': '${HOLDFAST_TEST_FILED}' } }
        const envFile = envFileWith('HOLDFAST_TEST_FILED=f')
        const gateway = await open({ mcpServers: { a: entry }, holdfast: { envFile } })
        await gateway.settled()
        await gateway.callTool('a__echo', {})
        expect(fake.records.of('tools/call')[0]?.headers).toMatchObject({ 'x-key': 'f' })
      }),
  },
  {
    keys: ['gateway.shutdownTimeout'],
    does: 'ends a stop that waits for a call',
    prove: ({ open }) =>
      withFakes([{ script: { builtins: ['sleep'] } }], async fake => {
        const gateway = await open({
          mcpServers: { a: { ...fake.entry } },
          holdfast: { shutdownTimeout: '500ms' },
        })
        const call = gateway.callTool('a__sleep', { ms: 25_000 }).then(
          () => 'answered',
          () => 'given up',
        )
        await fake.records.waitFor(records => records.runs('sleep') === 1)
        // By default it is given up after 24 s.
        const patience = new AbortController()
        const late = delay(12_000, 'late', patience).catch(() => 'late')
        const closed = gateway.close().then(() => call)
        expect(await Promise.race([closed, late])).toBe('given up')
        patience.abort()
      }),
  },
]
