import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { GatewayStatus } from '../../src/control/status.js'
import { dice, pick } from '../kit/dice.js'
import { type Fake, type FakeOptions, withFakes } from '../kit/fake-mcp.js'
import { LoadClient, type Told } from '../kit/load-client.js'
import { rawRequest } from '../kit/raw-http.js'
import { trouble } from './faults.js'
import { type Holding, MeasuredGateway } from './measure.js'

/** Seconds of faults; `HOLDFAST_SOAK_SECONDS=600` for the long run. */
const SECONDS = Number(process.env['HOLDFAST_SOAK_SECONDS'] ?? 8)
/** Idle connections to servers are kept for half a minute; only the long run waits until they are gone. */
const LONG = SECONDS >= 60
const REST_MS = LONG ? 40_000 : 3_000
const SPARE_SOCKETS = LONG ? 10 : 150
const SERVERS = 20
const CLIENTS = 50
const MB = 1024 * 1024

const SCRIPT = { builtins: ['echo'] } as const
const FLEET: readonly FakeOptions[] = Array.from({ length: SERVERS }, (_, i) => {
  if (i % 5 < 2) return { transport: 'stdio', script: SCRIPT }
  return { transport: 'http', script: { ...SCRIPT, eras: i % 5 === 4 ? 'modern' : 'legacy' } }
})

async function statusOf(gateway: MeasuredGateway): Promise<GatewayStatus> {
  const { body } = await rawRequest(gateway.url.replace(/\/mcp$/, '/api/v1/status'), { method: 'GET' })
  return JSON.parse(body.toString()) as GatewayStatus
}

async function allWell(gateway: MeasuredGateway, withinMs: number): Promise<GatewayStatus> {
  const end = Date.now() + withinMs
  for (;;) {
    const status = await statusOf(gateway)
    if (status.upstreams.every(({ health }) => health === 'healthy') || Date.now() > end) return status
    await delay(200)
  }
}

/** The load of all clients for a time, with faults or without. */
async function load(
  gateway: MeasuredGateway,
  fakes: readonly Fake[],
  seconds: number,
  faulty: boolean,
): Promise<Told[]> {
  const random = dice(seconds + (faulty ? 1 : 0))
  const names = fakes.map((_, i) => `s${i}`)
  const next = () => {
    const upstream = pick(names, random)
    return { upstream, tool: `${upstream}__echo` }
  }
  const until = Date.now() + seconds * 1_000
  const isOver = () => Date.now() > until
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new LoadClient(gateway.url, `${faulty ? 'f' : 'w'}${i}`, i % 2 === 0 ? 'legacy' : 'modern'),
  )
  const faults = Array.from({ length: faulty ? 5 : 0 }, async () => {
    while (!isOver()) {
      await trouble(fakes[Math.floor(random() * fakes.length)] as Fake, random)
      await delay(random() * 400)
    }
  })
  await Promise.all([...faults, ...clients.map(client => client.run(next, random, isOver, 200))])
  return clients.flatMap(({ told }) => told)
}

function runsByNonce(fakes: readonly Fake[]): ReadonlyMap<string, number> {
  const runs = new Map<string, number>()
  for (const fake of fakes) {
    for (const { args } of fake.records.ofKind('run')) {
      const { nonce } = JSON.parse(args ?? '{}') as { nonce?: string }
      if (nonce !== undefined) runs.set(nonce, (runs.get(nonce) ?? 0) + 1)
    }
  }
  return runs
}

/** What one call was told against what its server did. */
function wrongIn(told: readonly Told[], runs: ReadonlyMap<string, number>): string[] {
  return told.flatMap(({ nonce, upstream, answers, outcome }) => {
    const ran = runs.get(nonce) ?? 0
    const facts = `${nonce} at ${upstream}: ${answers} answers, ${outcome}, ran ${ran} times`
    if (answers !== 1 || ran > 1 || outcome.startsWith('the answer of')) return [facts]
    if (outcome === 'done' && ran !== 1) return [facts]
    // What is said not to have been processed must not have run.
    return ['unavailable', 'overloaded'].includes(outcome) && ran > 0 ? [facts] : []
  })
}

function describe(label: string, { rss, heapUsed, fds, resources }: Holding, children: number): string {
  const mb = (bytes: number) => `${Math.round(bytes / MB)} MB`
  return `${label}: rss ${mb(rss)}, heap ${mb(heapUsed)}, ${fds} descriptors, ${children} children, ${JSON.stringify(resources)}`
}

test(
  'twenty servers under faults and fifty clients: nothing lost, nothing doubled, nothing kept',
  async () => {
    await withFakes(FLEET, async (...fakes) => {
      const mcpServers = Object.fromEntries(
        fakes.map((fake, i) => [
          `s${i}`,
          {
            ...fake.entry,
            holdfast: {
              health: { interval: '1s', timeout: '1s' },
              requestTimeout: '4s',
              // A handshake answered with a wrong id is waited for until then: a minute by default, as long as `allWell`.
              startTimeout: '10s',
              restart: { max: 1_000 },
            },
          },
        ]),
      )
      const gateway = await MeasuredGateway.start({ mcpServers, holdfast: { listen: { port: 0 } } })
      try {
        await allWell(gateway, 20_000)
        const warm = await load(gateway, fakes, Math.min(10, SECONDS / 3), false)
        await delay(REST_MS)
        const before = await gateway.measure()
        const childrenBefore = gateway.children()
        const told = await load(gateway, fakes, SECONDS, true)
        const status = await allWell(gateway, 60_000)
        const unwell = status.upstreams.filter(({ health }) => health !== 'healthy')
        expect(unwell.map(({ name, state, reason }) => `${name} is ${state}: ${reason}`)).toEqual([])
        await delay(REST_MS)
        const after = await gateway.measure()
        const outcomes = new Map<string, number>()
        for (const { outcome } of told) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        console.log(
          [
            describe('before', before, childrenBefore),
            describe('after ', after, gateway.children()),
            `${told.length} calls: ${[...outcomes].map(([kind, n]) => `${kind} ${n}`).join(', ')}`,
          ].join('\n'),
        )
        expect(wrongIn([...warm, ...told], runsByNonce(fakes))).toEqual([])
        expect(warm.filter(({ outcome }) => outcome !== 'done')).toEqual([])
        expect(after.faults).toEqual([])
        expect(gateway.children()).toBe(childrenBefore)
        expect(after.fds).toBeLessThanOrEqual(before.fds + SPARE_SOCKETS)
        expect(after.resources['Timeout'] ?? 0).toBeLessThanOrEqual((before.resources['Timeout'] ?? 0) + 20)
        expect(after.heapUsed).toBeLessThan(before.heapUsed + 20 * MB)
      } finally {
        await gateway.stop()
      }
    })
  },
  (SECONDS + 180) * 1_000,
)
