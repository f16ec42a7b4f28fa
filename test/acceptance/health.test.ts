import { describe, expect } from 'vitest'
import { type Fake, type Script, withFakes } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { expectWithin, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, missingIn, options, withClient } from './shared.js'

const QUICK = { health: { interval: '300ms', timeout: '300ms', failures: 3 } }
const status = (code: number, headers: Record<string, string> = {}) => ({
  faults: [{ on: '*', do: { kind: 'http', status: code, headers } } as const],
})

function withRemote(
  script: Script,
  use: (
    fake: Fake,
    client: Parameters<Parameters<typeof withClient>[1]>[0],
    gateway: TestGateway,
  ) => Promise<void>,
  holdfast: Record<string, unknown> = QUICK,
): Promise<void> {
  return withFakes([{ script }], fake =>
    withClient({ a: options(fake.entry, holdfast) }, (client, gateway) => use(fake, client, gateway)),
  )
}

const checks = (fake: Fake) => fake.records.count('ping') + fake.records.count('server/discover')

describe('health checks', () => {
  verifies(['K134', 'K135'], 'use the address and the session that calls use, and open none', async () => {
    await withFakes([{ script: {} }], async fake => {
      const entry = options({ ...fake.entry, headers: { 'x-key': 'k' } }, QUICK)
      await withClient({ a: entry }, async () => {
        const before = fake.records.sessions.length
        await fake.records.waitFor(({ of }) => of.call(fake.records, 'ping').length >= 5)
        expect(fake.records.sessions).toHaveLength(before)
        const pings = fake.records.of('ping')
        expect(new Set(pings.map(({ session }) => session))).toEqual(new Set(fake.records.sessions))
        expect(new Set(pings.map(({ url }) => url)).size).toBe(1)
        expect(pings.every(({ headers }) => headers?.['x-key'] === 'k')).toBe(true)
      })
    })
  })

  verifies(['K135'], 'of a modern server are stateless', async () => {
    await withRemote({ eras: 'modern' }, async fake => {
      const before = fake.records.count('server/discover')
      await fake.records.waitFor(records => records.count('server/discover') >= before + 3)
      expect(fake.records.sessions).toEqual([])
    })
  })

  verifies(
    ['K136', 'K138'],
    'make a remote unhealthy with the cause, and well with the first answer',
    async () => {
      await withRemote({}, async (fake, client, gateway) => {
        await fake.patch(status(500))
        const sick = await gateway.waitForHealth('a', 'unhealthy')
        expect(sick.reason).toMatch(/HTTP 500 from POST \/mcp/)
        expect(sick).toMatchObject({ state: 'ready', action: 'wait' })
        expect(missingIn(await client.listTools())).toMatchObject([{ upstream: 'a', stale: true }])
        expect((await client.listTools()).tools.length).toBeGreaterThan(0)
        await fake.patch({ faults: [] })
        const well = await gateway.waitForHealth('a', 'healthy')
        expect(well.reason).toBeNull()
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      })
    },
  )

  verifies(['K138'], 'that fail once or twice change nothing', async () => {
    const script: Script = {
      faults: [{ on: 'ping', calls: [2, 3], do: { kind: 'http', status: 500 } }],
    }
    await withRemote(script, async (fake, _client, gateway) => {
      const seen = new Set<string>()
      while (fake.records.count('ping') < 5) seen.add((await gateway.upstream('a')).health)
      expect([...seen]).toEqual(['healthy'])
    })
  })

  verifies(['K137'], 'are left out while calls succeed, and come soon after one that failed', async () => {
    const script: Script = {
      tools: [{ name: 'cut', result: '{}' }],
      builtins: ['echo'],
      faults: [{ on: 'tools/call', tool: 'cut', do: { kind: 'reset' } }],
    }
    await withRemote(
      script,
      async (fake, client) => {
        const before = checks(fake)
        const end = Date.now() + 1_500
        while (Date.now() < end) await callTool(client, 'a__echo')
        expect(checks(fake)).toBe(before)
        await callTool(client, 'a__cut')
        await within(
          2_500,
          fake.records.waitFor(() => checks(fake) > before),
        )
      },
      { health: { interval: '30s' } },
    )
  })

  verifies(['K136', 'K141'], 'and calls that meet 429 leave a server available', async () => {
    await withRemote({}, async (fake, client, gateway) => {
      await fake.patch(status(429, { 'retry-after': '1' }))
      const refused = await callTool(client, 'a__echo', {})
      await fake.patch({ faults: [] })
      expect(refused.isError ? failureOf(refused)['kind'] : 'overloaded').toBe('overloaded')
      expect(await gateway.upstream('a')).toMatchObject({ health: 'healthy', breaker: 'closed' })
    })
  })

  verifies(
    ['K136'],
    'that meet 401 find that a sign-in is wanted, which stays and is not asked for again',
    async () => {
      await withRemote({}, async (fake, client, gateway) => {
        await fake.patch(status(401, { 'www-authenticate': 'Bearer' }))
        const told = await gateway.waitForState('a', 'auth_required')
        expect(told).toMatchObject({ action: 'sign_in', nextAttemptAt: null })
        const requests = fake.records.ofKind('request').length
        for (let i = 0; i < 5; i += 1) {
          expect(failureOf(await callTool(client, 'a__echo'))).toMatchObject({ kind: 'auth_required' })
        }
        const later = await gateway.upstream('a')
        expect(later.state).toBe('auth_required')
        expect(fake.records.ofKind('request').length).toBe(requests)
      })
    },
  )

  verifies(['K140'], 'answered late make a server degraded, and it stays in use', async () => {
    const script: Script = { faults: [{ on: 'ping', do: { kind: 'delay', ms: 700 } }] }
    await withRemote(script, async (_fake, client, gateway) => {
      expect((await gateway.waitForHealth('a', 'degraded')).breaker).toBe('closed')
      expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      expect(missingIn(await client.listTools())).toEqual([])
    })
  })

  verifies(['K143'], 'of many servers do not come together', async () => {
    await withFakes(
      Array.from({ length: 8 }, () => ({ script: {} })),
      async (...fakes) => {
        const entries = fakes.map((fake, i) => [`s${i}`, options(fake.entry, { health: { interval: '1s' } })])
        await withClient(Object.fromEntries(entries), async () => {
          const at = await Promise.all(
            fakes.map(fake => fake.records.waitFor(records => records.of('ping')[1]?.at ?? 0)),
          )
          expect(Math.max(...at) - Math.min(...at)).toBeGreaterThan(20)
        })
      },
    )
  })
})

describe('the breaker', () => {
  verifies(
    ['K141'],
    'refuses calls at once, and neither 4xx answers nor refused credentials open it',
    async () => {
      const script: Script = {
        tools: [
          { name: 'forbidden', result: '{}' },
          { name: 'lost', result: '{}' },
        ],
        faults: [
          { on: 'tools/call', tool: 'forbidden', do: { kind: 'http', status: 403 } },
          { on: 'tools/call', tool: 'lost', do: { kind: 'http', status: 502 } },
          { on: 'ping', do: { kind: 'http', status: 502 } },
        ],
      }
      await withRemote(
        script,
        async (fake, client, gateway) => {
          for (let i = 0; i < 8; i += 1) expect((await callTool(client, 'a__forbidden')).isError).toBe(true)
          expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', breaker: 'closed' })
          for (let i = 0; i < 5; i += 1) await callTool(client, 'a__lost')
          await fake.patch(status(502))
          const { breaker, health } = await gateway.waitForHealth('a', 'unhealthy')
          expect([breaker, health]).not.toContain('closed')
          const before = fake.records.callsOf('echo').length
          const started = performance.now()
          const refused = await callTool(client, 'a__echo')
          await expectWithin(performance.now() - started, 250)
          expect(failureOf(refused)).toMatchObject({ kind: 'unavailable', upstream: 'a' })
          expect(fake.records.callsOf('echo')).toHaveLength(before)
        },
        { health: { interval: '30s' } },
      )
    },
  )

  verifies(['K144', 'L145'], 'is closed by itself once the remote is back, in the same process', async () => {
    await withRemote({}, async (fake, client, gateway) => {
      await fake.crash()
      const { reason } = await gateway.waitForHealth('a', 'unhealthy')
      expect(reason).toContain('connection refused')
      await fake.restart()
      const backAt = Date.now()
      await expect
        .poll(async () => (await callTool(client, 'a__echo', { n: 1 })).structuredContent)
        .toEqual({ n: 1 })
      expect(Date.now() - backAt).toBeLessThan(6_000)
      await gateway.waitForHealth('a', 'healthy')
      expect(gateway.running).toBe(true)
    })
  })
})

describe('a remote that is broken from the first contact', () => {
  const kinds: readonly [string, Script, RegExp][] = [
    ['HTTP 500', status(500), /HTTP 500/],
    ['HTTP 503', status(503), /HTTP 503/],
    [
      'silence',
      { faults: [{ on: '*', do: { kind: 'hang' } }] },
      /no answer|no sign of life|within|budget|timed out/,
    ],
  ]
  for (const [name, broken, words] of kinds) {
    verifies(['K144', 'I110'], `by ${name} says so, and is in use soon after it works`, async () => {
      await withRemote(
        broken,
        async (fake, client, gateway) => {
          const sick = await gateway.waitForHealth('a', 'unhealthy')
          expect(sick.reason).toMatch(words)
          expect((await client.listTools()).tools).toEqual([])
          await fake.patch({ faults: [] })
          const mendedAt = Date.now()
          await expect
            .poll(async () => (await client.listTools()).tools.length, { timeout: 10_000 })
            .toBeGreaterThan(0)
          expect(Date.now() - mendedAt).toBeLessThan(8_000)
          expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
          expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', health: 'healthy' })
        },
        { ...QUICK, startTimeout: '1s' },
      )
    })
  }
})
