import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { dice, pick } from '../kit/dice.js'
import { Fleet, type Layout, placed } from '../kit/fleet.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { underLoad } from '../kit/load-client.js'
import { isAlive } from '../kit/processes.js'
import { SAVES, type Save } from '../kit/save.js'
import { until } from '../kit/until.js'
import { Editor, type Ended, History, wrongIn } from './edits.js'
import { describeHoldings, Follower, type Holdings, holdingsOf } from './reload-follower.js'

/** Seconds and number of edits; 60 and 100 for the long run. */
const SECONDS = Number(process.env['HOLDFAST_RELOAD_SECONDS'] ?? 12)
const EDITS = Number(process.env['HOLDFAST_RELOAD_EDITS'] ?? 20)
const SEED = Number(process.env['HOLDFAST_RELOAD_SEED'] ?? 7)
const SERVERS = 20
const SPARES = 4
const CLIENTS = 50
const PAUSE_MS = 300
const MB = 1024 * 1024
const MORE_MB = 30
/** Idle connections to network servers come and go. */
const SPARE_SOCKETS = 10
const REST_MS = 45_000
const COLLECT = fileURLToPath(new URL('./collect.mjs', import.meta.url))

const FIRST: Layout = Array.from({ length: SERVERS }, (_, at) => placed(`s${at}`))

interface World {
  readonly fleet: Fleet
  readonly gateway: TestGateway
  readonly history: History
  readonly follower: Follower
  readonly random: () => number
  readonly calls: Ended[]
}

/** Calls of all clients for as long as the work takes. */
async function underCalls(world: World, label: string, work: () => Promise<void>): Promise<void> {
  const { gateway, history, random, calls } = world
  const next = () => history.aim(random, call => calls.push(call))
  const load = { clients: CLIENTS, label, next, random, pauseMs: PAUSE_MS }
  const told = await underLoad(gateway.url, load, work)
  expect(told.filter(({ nonce }) => nonce === 'list')).toEqual([])
}

async function save({ gateway, fleet, random }: World, layout: Layout, how: Save): Promise<void> {
  await how(gateway.configFile, fleet.text(layout, pick([0, 2, 4], random)))
}

/** Edits at a steady pace; some come before the one before them is taken over, some change nothing. */
async function editFor(world: World, editor: Editor, seconds: number, edits: number): Promise<void> {
  const { history, follower, random } = world
  const started = performance.now()
  for (let at = 1; at <= edits; at += 1) {
    const isEmpty = random() < 0.15
    const next = isEmpty ? history.last : editor.edit(history.last)
    if (!isEmpty) history.add(next)
    await save(world, next, pick(Object.values(SAVES), random))
    const isHasty = !isEmpty && random() < 0.3
    const rest = started + (at * seconds * 1_000) / edits - performance.now()
    if (isHasty) await delay(100 * random())
    else await follower.settled()
    if (rest > 0) await delay(rest)
  }
  await follower.settled()
}

async function backToFirst(world: World): Promise<void> {
  const { history, follower, gateway } = world
  history.add(FIRST)
  await save(world, FIRST, SAVES['in place'])
  await follower.settled()
  await gateway.waitFor(({ upstreams }) => upstreams.every(({ health }) => health === 'healthy'), 30_000)
}

/** Once it is at rest; what it holds then. */
async function atRest({ gateway }: World, before?: Holdings): Promise<Holdings> {
  const look = () => holdingsOf(gateway.pid)
  gateway.signal('SIGUSR2')
  await delay(1_000)
  const end = performance.now() + (before ? REST_MS : 0)
  for (;;) {
    const now = look()
    const isBack =
      !before ||
      (now.sockets <= before.sockets + SPARE_SOCKETS &&
        now.others === before.others &&
        now.children.length === before.children.length &&
        now.rss <= before.rss + MORE_MB * MB)
    if (isBack || performance.now() > end) return now
    gateway.signal('SIGUSR2')
    await delay(500)
  }
}

async function withWorld(use: (world: World) => Promise<void>): Promise<void> {
  const fleet = await Fleet.start(SERVERS + SPARES)
  try {
    const gateway = await startGateway(
      { mcpServers: Object.fromEntries(FIRST.map(one => [one.name, fleet.entry(one)])) },
      { env: { NODE_OPTIONS: `--import=${COLLECT}` }, timeoutMs: 30_000 },
    )
    try {
      const history = new History(FIRST)
      const follower = new Follower(gateway, fleet, history)
      await gateway.waitFor(({ upstreams }) => upstreams.every(({ state }) => state === 'ready'), 30_000)
      await use({ fleet, gateway, history, follower, random: dice(SEED), calls: [] })
    } finally {
      await gateway.stop()
    }
  } finally {
    await fleet.stop()
  }
}

function expectAsBefore({ fleet, gateway }: World, before: Holdings, after: Holdings): void {
  expect(after.children).toHaveLength(before.children.length)
  const pids = [...fleet.fakes.values()].flatMap(fake =>
    fake.transport === 'stdio' ? fake.records.pids.filter(isAlive) : [],
  )
  expect([...pids].sort()).toEqual([...after.children].sort())
  expect(after.others).toBe(before.others)
  expect(after.sockets).toBeLessThanOrEqual(before.sockets + SPARE_SOCKETS)
  expect(after.rss).toBeLessThanOrEqual(before.rss + MORE_MB * MB)
  expect(gateway.stderr).not.toMatch(/a fault of the gateway|unhandled|MaxListeners/i)
}

test(
  'twenty servers, fifty clients and random edits: only what an edit removes fails, and nothing is kept',
  async () => {
    await withWorld(async world => {
      const { fleet, follower, history, random, calls } = world
      const editor = new Editor([...fleet.fakes.keys()], random)
      await underCalls(world, 'w', () => editFor(world, editor, SECONDS / 3, Math.ceil(EDITS / 3)))
      await backToFirst(world)
      const before = await atRest(world)
      const written = history.layouts.length
      const started = performance.now()
      await underCalls(world, 'e', () => editFor(world, editor, SECONDS, EDITS))
      const seconds = (performance.now() - started) / 1_000
      await backToFirst(world)
      const after = await atRest(world, before)
      const failed = calls.filter(({ told }) => told.outcome !== 'done').length
      console.log(
        [
          `${EDITS} edits in ${seconds.toFixed(1)} s, ${history.layouts.length - written - 1} of them with effect; ${follower.figures}`,
          `${calls.length} calls, ${failed} of them refused because an edit took their names away`,
          describeHoldings('before', before),
          describeHoldings('after ', after),
        ].join('\n'),
      )
      expect(wrongIn(calls, fleet.runs())).toEqual([])
      follower.expectOneApplyForEach()
      await until(
        'what left is gone',
        () => holdingsOf(world.gateway.pid).children.length === before.children.length,
      )
      expectAsBefore(world, before, after)
    })
  },
  (SECONDS * 3 + 240) * 1_000,
)
