import { renameSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { GatewayStatus } from '../../src/control/status.js'
import { dice, pick } from '../kit/dice.js'
import { Fleet, type Layout, type Placed, placed } from '../kit/fleet.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { type Told, underLoad } from '../kit/load-client.js'
import { descendantsOf, descriptorsOf, residentBytes, watchesOf } from '../kit/processes.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { innerFaults } from './judge.js'

const CLIENTS = 20
const EDITS = 4
const RELOADS = 100
const PACE_MS = 100
const SPARE_SOCKETS = 10
const REST_MS = 45_000
const GROWTH = 128 * 1024 * 1024

async function withFleet(
  size: number,
  use: (fleet: Fleet, gateway: TestGateway, layout: Layout) => Promise<void>,
  wishes: readonly Placed['wish'][] = [],
): Promise<void> {
  const fleet = await Fleet.start(size)
  const layout = [...fleet.fakes.keys()].map((name, at) => ({ ...placed(name), wish: wishes[at] ?? {} }))
  const mcpServers = Object.fromEntries(layout.map(one => [one.name, fleet.entry(one)]))
  try {
    await withGateway(
      { mcpServers },
      async gateway => {
        await gateway.settled(30_000)
        await use(fleet, gateway, layout)
        expect(innerFaults(gateway.stderr)).toEqual([])
      },
      { timeoutMs: 30_000 },
    )
  } finally {
    await fleet.stop()
  }
}

const allReady = (gateway: TestGateway) =>
  gateway.waitFor(({ upstreams }) => upstreams.every(({ state }) => state === 'ready'), 30_000)

const alter = (layout: Layout, name: string, part: Partial<Placed>): Layout =>
  layout.map(one => (one.name === name ? { ...one, ...part } : one))

/** What each of them is; another process, or session, is another one. */
function whoIsWho(fleet: Fleet, { upstreams }: GatewayStatus) {
  return new Map(
    upstreams.map(({ name, pid, since }) => [name, { pid, since, sessions: fleet.sessions(name) }]),
  )
}

function failuresIn(told: readonly Told[], runs: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return told.flatMap(({ nonce, upstream, tool, answers, outcome, reason }) => {
    const ran = runs.get(nonce) ?? []
    const isRight = answers === 1 && outcome === 'done' && ran.join() === upstream
    return isRight ? [] : [`${nonce} of ${tool}: ${answers} answers, ${outcome} (${reason}), ran at [${ran}]`]
  })
}

describe('a reload under load', () => {
  verifies(
    ['F62'],
    'that changes one of twenty servers leaves the others alone, and no call fails, at the changed one neither',
    async () => {
      await withFleet(20, async (fleet, gateway, first) => {
        const random = dice(62)
        let layout = first
        let victim = 's0'
        const next = () => {
          const upstream = random() < 0.5 ? victim : pick(layout, random).name
          return { upstream, tool: `${upstream}__${pick(['echo', 'slow'], random)}` }
        }
        const renew = async (name: string, revision: number) => {
          victim = name
          const before = whoIsWho(fleet, await gateway.status())
          layout = alter(layout, name, { revision })
          writeFileSync(gateway.configFile, fleet.text(layout))
          const status = await gateway.waitFor(
            ({ gateway: { config } }) => config.generation === revision + 1,
            20_000,
          )
          const after = whoIsWho(fleet, status)
          expect(status.gateway.config.lastError).toBeNull()
          expect([...after.keys()].filter(each => !sameOne(before.get(each), after.get(each)))).toEqual([
            name,
          ])
        }
        // One of each transport and era.
        const victims = ['s0', 's5', 's2', 's4', 's7']
        const edits = victims.flatMap(name => Array.from({ length: EDITS }, () => name))
        const told = await underLoad(
          gateway.url,
          { clients: CLIENTS, label: 'f62-', next, random, pauseMs: 100 },
          async () => {
            for (const [at, name] of edits.entries()) await renew(name, at + 1)
          },
        )
        expect(failuresIn(told, fleet.runs())).toEqual([])
        expect(told.length).toBeGreaterThan(edits.length * CLIENTS)
      })
    },
    120_000,
  )

  verifies(
    ['F62'],
    'of a server that cannot run twice, or is lazy, or has few places fails no call either',
    async () => {
      const wishes = [
        { exclusive: true },
        { lazy: true },
        { maxInFlight: 2 },
        { exclusive: true, lazy: true },
      ]
      await withFleet(
        wishes.length,
        async (fleet, gateway, first) => {
          const random = dice(64)
          let layout = first
          const next = () => {
            const { name: upstream } = pick(layout, random)
            return { upstream, tool: `${upstream}__${pick(['echo', 'slow'], random)}` }
          }
          const told = await underLoad(
            gateway.url,
            { clients: CLIENTS, label: 'wish-', next, random, pauseMs: 100 },
            async () => {
              for (let revision = 1; revision <= EDITS * wishes.length; revision += 1) {
                layout = alter(layout, layout[revision % wishes.length]?.name ?? '', { revision })
                writeFileSync(gateway.configFile, fleet.text(layout))
                await gateway.waitFor(({ gateway: { config } }) => config.generation === revision + 1, 20_000)
              }
            },
          )
          expect(failuresIn(told, fleet.runs())).toEqual([])
        },
        wishes,
      )
    },
    120_000,
  )

  verifies(
    ['F63'],
    'of a hundred in ten seconds takes over each state once, and keeps nothing',
    async () => {
      await withFleet(10, async (fleet, gateway, first) => {
        const random = dice(63)
        const children = [...fleet.fakes.values()].filter(({ transport }) => transport === 'stdio').length
        await churn(gateway, fleet, first, random, 10)
        await until('what left is gone', () => descendantsOf(gateway.pid).length === children, REST_MS)
        const before = holdings(gateway)
        const generation = await churn(gateway, fleet, first, random, RELOADS)
        await allReady(gateway)
        expect(takenOver(gateway)).toEqual(Array.from({ length: generation - 1 }, (_, at) => at + 2))
        const isBack = () => excess(holdings(gateway), before).length === 0
        await until('it holds what it held', isBack, REST_MS).catch(() => undefined)
        expect(excess(holdings(gateway), before)).toEqual([])
      })
    },
    150_000,
  )
})

/** Each state is seen twice: by whoever asks for the reload, and by the watch of the file. Returns the last generation. */
async function churn(
  gateway: TestGateway,
  fleet: Fleet,
  first: Layout,
  random: () => number,
  reloads: number,
): Promise<number> {
  let { generation = 0 } = (await gateway.status()).gateway.config
  let layout = first
  const started = performance.now()
  for (let at = 1; at <= reloads; at += 1) {
    const isNew = random() < 0.7
    if (isNew) layout = changed(layout, generation, random)
    if (isNew) generation += 1
    const text = fleet.text(layout, pick([0, 2], random))
    writeFileSync(`${gateway.configFile}.new`, text)
    renameSync(`${gateway.configFile}.new`, gateway.configFile)
    expect(await gateway.reload()).toMatchObject({ ok: true, generation })
    await delay(Math.max(0, started + at * PACE_MS - performance.now()))
  }
  writeFileSync(gateway.configFile, fleet.text(first))
  return (await gateway.reload()).generation
}

function changed(layout: Layout, serial: number, random: () => number): Layout {
  const { name } = pick(layout, random)
  return alter(layout, name, random() < 0.5 ? { revision: serial } : { timeoutMs: 30_000 + serial })
}

function takenOver({ log }: TestGateway): readonly number[] {
  const message = (line: TestGateway['log'][number]) =>
    typeof line === 'string' ? line : `${line['message']}`
  return log.flatMap(line => {
    const found = /^Configuration (\d+) is taken over/.exec(message(line))?.[1]
    return found === undefined ? [] : [Number(found)]
  })
}

type Holdings = ReturnType<typeof holdings>

function holdings({ pid }: TestGateway) {
  return {
    descriptors: descriptorsOf(pid).length,
    watches: watchesOf(pid),
    children: descendantsOf(pid).length,
    rss: residentBytes(pid),
  }
}

/** What it holds now and did not hold before, in words. */
function excess(now: Holdings, before: Holdings): readonly string[] {
  const more = (key: keyof Holdings, room: number) =>
    now[key] > before[key] + room ? [`${now[key]} ${key}, before ${before[key]}`] : []
  return [
    ...more('descriptors', SPARE_SOCKETS),
    ...more('watches', 0),
    ...more('children', 0),
    ...more('rss', GROWTH),
  ]
}

function sameOne(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
