import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Fake, type FakeTransport, type ServerEntry, startFake } from '../kit/fake-mcp.js'
import { openToxic, type Toxic } from '../kit/toxic.js'
import { until } from '../kit/until.js'
import { faultRow, type Row } from './harness.js'

/** Unexpected ends that a server may have before it is quarantined. */
const BUDGET = 2

/** Servers that fail together with the faulty one; the two of the harness do not. */
class Neighbours {
  readonly names = ['n1', 'n2', 'n3', 'n4']
  #fakes: readonly Fake[] = []
  #proxies: readonly Toxic[] = []

  constructor(private readonly transport: FakeTransport) {}

  async start(): Promise<void> {
    const script = { builtins: ['echo'] }
    this.#fakes = await Promise.all(
      this.names.map(name => startFake({ transport: this.transport, script: { name, ...script } })),
    )
    if (this.transport !== 'stdio')
      this.#proxies = await Promise.all(this.#fakes.map(fake => openToxic(fake)))
  }

  get entries(): Readonly<Record<string, ServerEntry>> {
    const holdfast = { restart: { max: BUDGET } }
    const reachable = this.#proxies.length > 0 ? this.#proxies : this.#fakes
    return Object.fromEntries(this.names.map((name, at) => [name, { ...reachable[at]?.entry, holdfast }]))
  }

  /** Network servers stay away until `up`; programs are killed. */
  async down(row: Row): Promise<void> {
    if (this.transport !== 'stdio') for (const proxy of [row.toxic, ...this.#proxies]) proxy.down()
    else await Promise.all([row.victim, ...this.#fakes].map(fake => fake.crash()))
  }

  async up(row: Row): Promise<void> {
    if (this.transport !== 'stdio') for (const proxy of [row.toxic, ...this.#proxies]) await proxy.up()
  }

  async close(): Promise<void> {
    for (const proxy of this.#proxies) proxy.close()
    await Promise.all(this.#fakes.map(fake => fake.stop()))
  }
}

describe.each(['stdio', 'http', 'sse'] as const)(
  'when most servers (%s) fail at the same moment',
  transport => {
    const neighbours = new Neighbours(transport)
    beforeAll(() => neighbours.start())
    afterAll(() => neighbours.close())

    faultRow(
      'F66',
      'again and again, none of them is condemned for it, and the lists stay as they are',
      {
        transports: [transport],
        toxic: transport !== 'stdio',
        holdfast: { restart: { max: BUDGET } },
        get servers() {
          return neighbours.entries
        },
        processes: transport === 'stdio' ? 5 : 0,
        timeoutMs: 60_000,
      },
      async row => {
        const { gateway, clients } = row
        const all = ['victim', ...neighbours.names]
        await gateway.waitFor(({ upstreams }) => upstreams.every(({ state }) => state === 'ready'))
        const names = await Promise.all(clients.map(client => client.tools()))
        for (let time = 0; time < BUDGET + 1; time++) {
          const restarts = await restartsOf(row, all)
          await row.inject(() => neighbours.down(row))
          for (const client of clients)
            await Promise.all(all.map(name => client.call(`${name}__echo`).answer))
          expect(await Promise.all(clients.map(client => client.tools()))).toEqual(names)
          await neighbours.up(row)
          for (const name of all) {
            const served = async () => {
              const { failure } = await clients[0].call(`${name}__echo`).answer
              expect((await gateway.upstream(name)).state, name).not.toBe('quarantined')
              return failure === null
            }
            await until(`${name} is served`, served)
          }
          if (transport === 'stdio')
            expect(await restartsOf(row, all)).toEqual(restarts.map(times => times + 1))
        }
        await row.lift()
        await row.shows(/killed by SIGKILL|refused|reset|closed|ended/)
      },
    )
  },
)

async function restartsOf({ gateway }: Row, names: readonly string[]): Promise<readonly number[]> {
  const { upstreams } = await gateway.status()
  return names.map(name => upstreams.find(upstream => upstream.name === name)?.restarts ?? -1)
}
