import { describe, expect } from 'vitest'
import type { UpstreamStatus } from '../../src/control/status.js'
import { connectV1Http } from '../kit/clients.js'
import { type Fake, type FakeTransport, type Script, type ServerEntry, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { isAlive } from '../kit/processes.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { take, WAYS } from './reload-shared.js'
import { CRASHING, callTool, options } from './shared.js'

const SCRIPT: Script = {
  builtins: ['echo', 'count'],
  tools: [{ name: 'hold', steps: [{ wait: 'held' }], behaves: 'echo' }],
  resources: [{ uri: 'note://1' }],
  ttlMs: 60_000,
}
const OTHER = { transport: 'stdio', script: { builtins: ['echo'] } } as const
const KEPT_RESULTS = { cacheResults: { count: '60s' } }

/** Everything that a new start, or a new session, would change. */
async function identity(gateway: TestGateway, fake: Fake) {
  const { pid, state, since, restarts, attempts, breaker, era, lastError } = await gateway.upstream('a')
  const count = (...methods: string[]) =>
    methods.map(method => fake.records.count(method)).reduce((sum, n) => sum + n, 0)
  return {
    ...{ pid, state, since, restarts, attempts, breaker, era, lastError },
    handshakes: count('initialize', 'server/discover'),
    lists: count('tools/list', 'resources/list', 'prompts/list', 'resources/templates/list'),
    sessions: fake.records.sessions,
    ends: fake.records.ofKind('session-end').length,
  }
}

/** A server that has died once already counts that. */
async function withPast(gateway: TestGateway, fake: Fake): Promise<UpstreamStatus> {
  const { pid } = await gateway.waitForState('a', 'ready')
  if (pid === null) return gateway.upstream('a')
  await fake.quit({ code: 1 })
  await until('it is gone', () => !isAlive(pid))
  await gateway.waitFor(
    ({ upstreams: [a] }) => a?.state === 'ready' && a.restarts === 1 && a.catalog.tools > 0,
  )
  return gateway.upstream('a')
}

async function stays(
  transport: FakeTransport,
  eras: 'legacy' | 'modern',
  next: (a: ServerEntry, b: ServerEntry) => readonly object[],
) {
  await withFakes([{ transport, script: { ...SCRIPT, eras } }, OTHER], async (fake, other) => {
    // On a busy machine the silence of a child that starts must not be taken for a legacy server's.
    const pin = eras === 'modern' ? { era: 'modern' } : {}
    const a = options(fake.entry, { ...KEPT_RESULTS, ...pin })
    await withGateway({ mcpServers: { a, b: other.entry } }, async gateway => {
      await withPast(gateway, fake)
      await gateway.settled()
      const client = await connectV1Http(gateway.url)
      const counted = () => callTool(client, 'a__count').then(({ content }) => content[0]?.text)
      // Only a server of the modern era says for how long its resources are fresh.
      const read = () => (eras === 'modern' ? client.readResource({ uri: 'note://a~/1' }) : null)
      await Promise.all([counted(), read()])
      const held = callTool(client, 'a__hold', { mine: 1 })
      await fake.records.waitFor(records => records.runs('hold') === 1)
      const before = await identity(gateway, fake)
      const { lastOkAt } = await gateway.upstream('a')
      for (const mcpServers of next(a, other.entry)) {
        await take(gateway, mcpServers)
        expect(await identity(gateway, fake)).toEqual(before)
        expect(await gateway.upstream('a')).toMatchObject({ inFlight: 1 })
        // It is told from how long ago that was.
        const moved = Date.parse((await gateway.upstream('a')).lastOkAt ?? '') - Date.parse(lastOkAt ?? '')
        expect(Math.abs(moved)).toBeLessThan(50)
        expect(await counted()).toBe('1')
        await read()
      }
      expect(fake.records.runs('count')).toBe(1)
      if (eras === 'modern') expect(fake.records.count('resources/read')).toBe(1)
      await fake.release('held')
      expect((await held).structuredContent).toEqual({ mine: 1 })
      expect((await callTool(client, 'a__echo', { x: 2 })).structuredContent).toEqual({ x: 2 })
      const { handshakes, sessions } = await identity(gateway, fake)
      expect({ handshakes, sessions }).toEqual({ handshakes: before.handshakes, sessions: before.sessions })
      await client.close()
    })
  })
}

describe('a server that a reload does not change', () => {
  for (const [transport, eras] of WAYS) {
    verifies(
      ['M151'],
      `keeps its process or session, its call under way, its counters and what is kept of it (${eras} ${transport})`,
      () =>
        stays(transport, eras, (a, b) => [
          { a, b: { ...b, env: { OTHER: '1' } } },
          { c: b, a },
          { a, c: options(b, { prefix: 'd' }), e: CRASHING },
          { a },
        ]),
    )
  }

  verifies(['M151'], 'keeps an open breaker, and the time of its next try', async () => {
    const lost = { ...SCRIPT, faults: [{ on: '*', do: { kind: 'http', status: 502 } as const }] }
    await withFakes([{ script: SCRIPT }, OTHER], async (fake, other) => {
      await withGateway({ mcpServers: { a: fake.entry, b: other.entry } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        const client = await connectV1Http(gateway.url)
        await fake.set(lost)
        for (let at = 0; at < 5; at += 1) await callTool(client, 'a__echo')
        const opened = () =>
          gateway.waitFor(({ upstreams: [a] }) => a?.breaker === 'open' && !!a.nextAttemptAt)
        const { upstreams } = await opened()
        await take(gateway, { a: fake.entry })
        const trials = fake.records.count('tools/list')
        const [a] = (await opened()).upstreams
        // Unless a try came in between, after which there is a next one.
        if (fake.records.count('tools/list') === trials) {
          expect(a).toMatchObject({ health: 'unhealthy', since: upstreams[0]?.since })
        }
        expect(fake.records.sessions).toHaveLength(1)
        await client.close()
      })
    })
  })

  verifies(['M151'], 'and does not work keeps its count of tries, and the time of the next one', async () => {
    await withFakes([OTHER], async other => {
      const a = options(CRASHING, { restart: { max: 100 } })
      await withGateway({ mcpServers: { a, b: other.entry } }, async gateway => {
        const tried = await gateway.waitFor(
          ({ upstreams: [one] }) => one?.state === 'backoff' && one.attempts >= 3,
        )
        await take(gateway, { a })
        const [before, after] = [tried.upstreams[0], await gateway.upstream('a')]
        expect(after.attempts).toBeGreaterThanOrEqual(before?.attempts ?? 0)
        // It may be trying at this moment.
        const waits = after.state === 'backoff' && after.attempts === before?.attempts
        if (waits) expect(after.nextAttemptAt).toBe(before.nextAttemptAt)
      })
    })
  })
})

describe('a server of which a reload changes an option', () => {
  for (const [transport, eras] of WAYS) {
    verifies(['M151'], `keeps all that too (${eras} ${transport})`, () =>
      stays(transport, eras, (a, b) => [
        { a: options(a, { ...a.holdfast, requestTimeout: '40s' }), b },
        { a: options(a, { ...a.holdfast, maxInFlight: 5, health: { interval: '50s' } }), b },
        { a: options(a, { ...a.holdfast, unavailable: 'hide' }), b },
      ]),
    )
  }
})
