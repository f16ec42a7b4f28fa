import { describe, expect } from 'vitest'
import { type Fake, startFake } from '../kit/fake-mcp.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { quickestStart, slowness } from '../kit/slowness.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { RowClient } from './clients.js'
import { type Variant, variantsOf } from './harness.js'
import { innerFaults, misdelivered, replayed, unanswered } from './judge.js'
import { Ledger } from './ledger.js'

const NAMES = ['a', 'b', 'c', 'd', 'e']
const LISTS = {
  'tools/list': 'tools',
  'resources/list': 'resources',
  'resources/templates/list': 'resourceTemplates',
  'prompts/list': 'prompts',
}
/** From the start of the process. */
const READY_MS = 1_000
/** P5: within 5 s of the servers' return, with some room for a busy machine. */
const RECOVER_MS = 6_500

const offering = {
  builtins: ['echo'],
  resources: [{ uri: 'demo://thing/1' }],
  resourceTemplates: [{ uriTemplate: 'demo://made/{id}' }],
  prompts: [{ name: 'ask' }],
}

// They wait most of their time, and do so side by side.
describe.concurrent('with every server down at its start', () => {
  for (const variant of variantsOf({})) {
    verifies(
      ['F67', 'A5'],
      `the gateway is ready at once, lists say why they are empty, and all heals (${variant.era} ${variant.transport})`,
      () => boot(variant),
      90_000,
    )
  }
})

async function boot(variant: Variant): Promise<void> {
  const fakes = await Promise.all(NAMES.map(name => startDown(name, variant)))
  const mcpServers = Object.fromEntries(
    fakes.map(({ entry }, at) => [NAMES[at], { ...entry, holdfast: { restart: { max: 2 } } }]),
  )
  const gateways: TestGateway[] = []
  try {
    const start = async () => {
      await gateways.at(-1)?.stop()
      const gateway = await startGateway({ mcpServers })
      gateways.push(gateway)
      return gateway.readyMs
    }
    expect(await quickestStart(start, READY_MS)).toBeLessThan(READY_MS)
    const gateway = gateways.at(-1) as TestGateway
    await outlive(gateway, fakes)
    expect(gateway.running).toBe(true)
    expect(innerFaults(gateway.stderr)).toEqual([])
  } finally {
    await Promise.all(gateways.map(gateway => gateway.stop()))
    await Promise.all(fakes.map(fake => fake.stop()))
  }
}

async function outlive(gateway: TestGateway, fakes: readonly Fake[]): Promise<void> {
  const ledger = new Ledger()
  const slow = await slowness()
  const clients = [
    await new RowClient('old', 'legacy', gateway.url, ledger).open(),
    await new RowClient('new', 'modern', gateway.url, ledger).open(),
  ]
  await gateway.waitFor(({ upstreams }) => upstreams.every(({ attempts }) => attempts >= 2), 20_000)
  for (const client of clients) {
    for (const [method, member] of Object.entries(LISTS)) {
      const { result, ms } = await client.request(method).answer
      expect(result?.[member], method).toEqual([])
      expect(missingIn(result), method).toEqual(NAMES)
      expect(ms / slow, method).toBeLessThan(1_000)
    }
    const { failure, ms } = await client.call('a__echo').answer
    expect(failure).toMatchObject({ kind: 'unavailable', upstream: 'a' })
    expect(ms / slow).toBeLessThan(6_000)
  }
  const { upstreams } = await gateway.status()
  for (const { name, state, reason, nextAttemptAt } of upstreams) {
    expect(['backoff', 'starting'], name).toContain(state)
    expect(reason, name).toMatch(/connection refused|(exited with code 1|closed its output): no database/)
    if (state === 'backoff') expect(nextAttemptAt, name).toMatch(/^\d{4}-/)
  }
  const told = ledger.unasked.length
  await Promise.all(fakes.map(wake))
  await gateway.waitFor(status => status.upstreams.every(isWell), RECOVER_MS * slow)
  const changes = () => ledger.unasked.slice(told).filter(({ text }) => text.includes('tools/list_changed'))
  await until('the legacy client is told', () => changes().length > 0)
  for (const client of clients) {
    expect(await client.tools()).toEqual(NAMES.map(name => `${name}__echo`))
    for (const [method, member] of Object.entries(LISTS)) {
      const { result } = await client.request(method).answer
      expect(result?.[member], method).toHaveLength(NAMES.length)
      expect(missingIn(result), method).toEqual([])
    }
    for (const name of NAMES) expect((await client.call(`${name}__echo`).answer).failure).toBe(null)
  }
  for (const client of clients) client.close()
  await ledger.settled()
  const records = fakes.flatMap(fake => fake.records.all)
  expect([...unanswered(ledger), ...misdelivered(ledger), ...replayed(ledger, records)]).toEqual([])
}

function startDown(name: string, { transport, era }: Variant): Promise<Fake> {
  const crash = { kind: 'crash', code: 1, stderr: 'no database' } as const
  const faults = transport === 'stdio' ? [{ on: 'start', do: crash }] : []
  return startFake({ transport, script: { name, eras: era, ...offering, faults }, down: true })
}

function wake(fake: Fake): Promise<void> {
  return fake.transport === 'stdio' ? fake.patch({ faults: [] }) : fake.restart()
}

function isWell({
  state,
  health,
  catalog,
}: {
  readonly state: string
  readonly health: string
  readonly catalog: { readonly prompts: number }
}): boolean {
  return state === 'ready' && health === 'healthy' && catalog.prompts === 1
}

function missingIn(result: Readonly<Record<string, unknown>> | null): readonly string[] {
  const meta = (result?.['_meta'] ?? {}) as Readonly<Record<string, readonly { readonly upstream: string }[]>>
  return (meta['dev.holdfast/unavailable'] ?? []).map(({ upstream }) => upstream)
}
