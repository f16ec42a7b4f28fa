import { Runtime } from '../../src/runtime/gateway.js'
import { createConnectorFactory } from '../../src/upstream/index.js'
import { check, type Violation } from './checker.js'
import { Crowd } from './crowd.js'
import { createFleet, type Member, type Model, specsOf } from './fleet.js'
import { Ledger } from './ledger.js'
import { recover } from './recovery.js'
import { Network } from './virtual-dialer.js'
import { createVirtualHost } from './virtual-host.js'
import { World } from './world.js'

export interface RunOptions {
  readonly seed: number
  readonly models?: readonly Model[]
  /** A few seconds in which no server misbehaves. */
  readonly calm?: boolean
  /** The operation of the machine that fails, counted from 1. */
  readonly failing?: number
}

export interface Report {
  readonly seed: number
  readonly violations: readonly Violation[]
  readonly hash: string
  readonly world: World
  readonly ledger: Ledger
  /** Requests of clients. */
  readonly requests: number
}

/** Everything of one run that its phases share. */
export interface Simulation {
  readonly world: World
  readonly ledger: Ledger
  readonly runtime: Runtime
  readonly fleet: readonly Member[]
  readonly crowd: Crowd
  readonly liftAt: number
}

const CALM_MS = 2_500
/** By then everything that the gateway held must be let go of. */
const BASELINE_MS = 60_000

/** One run of the whole gateway on a virtual machine: the seed decides everything. */
export async function simulate(options: RunOptions): Promise<Report> {
  const world = new World(options.seed)
  return world.own(async () => {
    const simulation = set(world, options)
    await play(simulation, options.calm ?? false)
    await end(simulation)
    return judge(simulation, options.seed)
  })
}

function set(world: World, options: RunOptions): Simulation {
  const dice = world.dice('simulation')
  const ledger = new Ledger()
  ledger.failing = options.failing ?? 0
  const machine = { world, ledger, programs: new Map(), network: new Network() }
  const host = createVirtualHost(machine)
  const { calm = false, models } = options
  const liftAt = calm ? CALM_MS : dice.between(20_000, 150_000)
  const fleet = createFleet({ machine, liftAt, calm, ...(models ? { models } : {}) })
  const runtime = new Runtime({
    host,
    connectors: createConnectorFactory(host, { name: 'sim', version: '1' }),
    upstreams: specsOf(fleet, dice),
    info: { name: 'sim', title: 'Sim', version: '1' },
    events: {
      stderr: () => undefined,
      warning: (upstream, what) => world.note({ kind: 'warning', upstream, what }),
    },
  })
  const crowd = new Crowd({ world, core: runtime, host }, fleet, liftAt, calm)
  noteStates(world, runtime)
  return { world, ledger, runtime, fleet, crowd, liftAt }
}

/** By hand, by the network, by a summer time done wrong. */
const JUMPS_MS = [1_000, 30_000, 3_600_000, 86_400_000]

/** The wall clock jumps, forwards and backwards; time itself goes on as ever. */
function setWrong(world: World, ledger: Ledger, until: number): void {
  const dice = world.dice('wall clock')
  const jumps = dice.chance(0.5) ? dice.between(1, 4) : 0
  for (let i = 0; i < jumps; i += 1) {
    const ms = dice.pick(JUMPS_MS) * dice.pick([1, -1])
    world.after(dice.between(0, until), () => {
      ledger.wallSkewMs += ms
      world.note({ kind: 'jumped', ms })
    })
  }
}

function noteStates(world: World, runtime: Runtime): void {
  runtime.store.onCommit(({ upstreams }, { upstreams: before }) => {
    for (const [name, view] of upstreams) {
      const old = before.get(name)
      if (old?.state === view.state && old.breaker === view.breaker) continue
      const state =
        view.state === 'ready' && view.breaker !== 'closed' ? `breaker ${view.breaker}` : view.state
      world.note({ kind: 'state', upstream: name, state, reason: view.reason })
    }
  })
}

async function play(
  { world, ledger, runtime, fleet, crowd, liftAt }: Simulation,
  calm: boolean,
): Promise<void> {
  for (const member of fleet) member.arm()
  if (!calm) setWrong(world, ledger, liftAt)
  runtime.boot()
  crowd.gather()
  await world.run(liftAt)
  world.note({ kind: 'phase', phase: 'lifted' })
}

async function end(simulation: Simulation): Promise<void> {
  const { world, runtime, crowd, ledger } = simulation
  const abrupt = world.dice('end').chance(0.2) && ledger.failing === 0
  if (!abrupt) await recover(simulation)
  world.note({ kind: 'phase', phase: 'closing' })
  const closing = close(simulation)
  if (!(await world.settle(closing, world.now + 40_000))) {
    world.note({ kind: 'broken', promise: 'P10', what: 'the gateway did not end within 40 s' })
  }
  world.note({ kind: 'phase', phase: 'closed' })
  const spawns = ledger.spawns
  await world.run(world.now + BASELINE_MS)
  if (ledger.spawns > spawns)
    world.note({ kind: 'broken', promise: 'I7', what: 'a child was started after the end' })
  for (const what of ledger.held()) {
    world.note({ kind: 'broken', promise: 'I7', what: `a minute after the end: ${what}` })
  }
  if (runtime.running !== 0)
    world.note({
      kind: 'broken',
      promise: 'I7',
      what: `${runtime.running} calls are still counted as running`,
    })
  crowd.leave()
}

/** In the order of the composition root. */
async function close({ runtime, crowd }: Simulation): Promise<void> {
  await runtime.drained(5_000)
  crowd.close()
  await runtime.stop()
}

function judge({ world, ledger }: Simulation, seed: number): Report {
  for (const crash of world.crashes) {
    const what = crash instanceof Error ? (crash.stack ?? crash.message) : String(crash)
    world.note({ kind: 'broken', promise: 'I4', what: `it would have crashed: ${what}` })
  }
  const requests = world.history.filter(({ kind }) => kind === 'sent').length
  return {
    seed,
    violations: check(world.history, ledger.failed?.upstream ?? null),
    hash: world.hash(),
    world,
    ledger,
    requests,
  }
}
