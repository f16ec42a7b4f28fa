import { expect } from 'vitest'
import type { Gateway } from '../../src/index.js'
import { type Script, withFakes } from '../kit/fake-mcp.js'
import { blackHole } from '../kit/ports.js'
import { until } from '../kit/until.js'
import { bothWays, type Proof } from './proof.js'

/** A socket is open when its TLS is. */
const secure = (url: string) => url.replace('http:', 'https:')

/** Of the defaults all are longer than this, or have other words. */
const QUICK_MS = 12_000

async function lastError(gateway: Gateway): Promise<string> {
  await gateway.settled(QUICK_MS)
  await until('it failed', () => gateway.upstream('a').status().lastError !== null, QUICK_MS)
  return gateway.upstream('a').status().lastError?.message ?? ''
}

async function failureOf(call: Promise<unknown>): Promise<{ code?: string; message?: string }> {
  return call.then(
    () => ({}),
    (error: { code?: string; message?: string }) => error,
  )
}

const hang = (on: string): Script => ({
  builtins: ['echo', 'progress'],
  faults: [{ on, do: { kind: 'hang' } }],
})

export const TIMEOUT_PROOFS: readonly Proof[] = [
  bothWays('connectTimeout', 'ends the wait for a socket', async ({ serve }) => {
    const hole = await blackHole()
    try {
      const gateway = await serve(
        { type: 'http', url: secure(hole.url) },
        { connectTimeout: '300ms', startTimeout: '3s' },
      )
      expect(await lastError(gateway)).toMatch(/^no connection in time/)
    } finally {
      await hole.close()
    }
  }),
  bothWays('startTimeout', 'ends the wait for a handshake', ({ serve }) =>
    withFakes([{ script: hang('*') }], async fake => {
      const gateway = await serve(fake.entry, { startTimeout: '400ms' })
      expect(await lastError(gateway)).toMatch(/0\.4 s|400 ms/)
    }),
  ),
  bothWays('requestTimeout', 'ends a call without a sign of life', ({ serve }) =>
    withFakes([{ script: hang('tools/call') }], async fake => {
      const gateway = await serve(fake.entry, { requestTimeout: '400ms' })
      await gateway.settled()
      expect((await failureOf(gateway.callTool('a__echo', {}, { timeoutMs: QUICK_MS }))).message).toMatch(
        /0\.4 s|400 ms/,
      )
    }),
  ),
  bothWays('totalTimeout', 'ends a call that only makes progress', ({ serve }) =>
    withFakes([{ script: { builtins: ['progress'] } }], async fake => {
      const gateway = await serve(fake.entry, { totalTimeout: '700ms' })
      await gateway.settled()
      const call = gateway.callTool('a__progress', { n: 200, ms: 100 }, { onProgress: () => undefined })
      expect((await failureOf(call)).message).toMatch(/0\.7 s|700 ms/)
    }),
  ),
  bothWays('listTimeout', 'ends the wait for a list', ({ serve }) =>
    withFakes([{ script: hang('tools/list') }], async fake => {
      const gateway = await serve(fake.entry, { listTimeout: '400ms' })
      await gateway.settled()
      const { unavailable } = await gateway.listTools()
      expect(unavailable[0]?.reason).toMatch(/0\.4 s|400 ms/)
    }),
  ),
]
