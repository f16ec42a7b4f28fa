import { readConfigObject } from '../../src/config/index.js'
import type { MisconfiguredSpec, UpstreamSpec } from '../../src/model/index.js'
import type { Dice } from './dice.js'
import { FaultPlan, type Strike } from './fault-plan.js'
import { App } from './models/app.js'
import { HttpServer } from './models/http-server.js'
import { StdioServer } from './models/stdio-server.js'
import type { Machine } from './virtual-host.js'

export type Model = 'stdio-legacy' | 'stdio-modern' | 'http-legacy' | 'http-modern'

/** One configured server: what it offers, what befalls it, and how it is reached. */
export interface Member {
  readonly name: string
  readonly model: Model
  readonly app: App
  readonly plan: FaultPlan
  readonly entry: Record<string, unknown>
  /** The limit of one start. */
  readonly startMs: number
  /** Tools that its entry in the config lets run twice. */
  readonly repeatable: ReadonlySet<string>
  /** It can tell that its lists changed. */
  readonly tells: boolean
  /** It ends, with whatever it was doing. */
  crash(): void
  /** Makes what `plan` says happen. */
  arm(): void
}

/** Never meets a fault; whoever calls it must not notice the others. */
export const STEADY = 'steady'

const MODELS: readonly Model[] = ['stdio-legacy', 'http-legacy', 'http-modern', 'stdio-modern']

export interface FleetOptions {
  readonly machine: Machine
  readonly liftAt: number
  /** Nobody misbehaves. */
  readonly calm: boolean
  /** None = drawn from the seed. */
  readonly models?: readonly Model[]
}

export function createFleet({ machine, liftAt, calm, models }: FleetOptions): Member[] {
  const dice = machine.world.dice('fleet')
  const drawn = models ?? MODELS.filter(() => dice.chance(0.7))
  const others = drawn.length > 0 ? drawn : [dice.pick(MODELS)]
  const steady = dice.pick(MODELS)
  return [
    createMember(machine, dice, STEADY, steady, liftAt, true),
    ...others.map((model, index) => createMember(machine, dice, `up${index}`, model, liftAt, calm)),
  ]
}

/** The fleet as the gateway reads it from a config. */
export function specsOf(fleet: readonly Member[], dice: Dice): readonly (UpstreamSpec | MisconfiguredSpec)[] {
  const servers = Object.fromEntries(
    fleet.map(({ name, entry, repeatable }) => {
      const requestTimeout = name === STEADY ? 20_000 : dice.pick([3_000, 20_000])
      const holdfast = {
        requestTimeout,
        totalTimeout: requestTimeout * dice.pick([1, 2]),
        ...(repeatable.has('again') ? { idempotent: ['again'] } : {}),
        ...(repeatable.has('look') ? { trusted: true } : {}),
        ...(dice.chance(0.15) && name !== STEADY ? { lazy: true } : {}),
        ...(dice.chance(0.15) ? { unavailable: 'hide' } : {}),
      }
      return [name, { ...entry, holdfast }]
    }),
  )
  const reading = readConfigObject({ mcpServers: servers }, { env: {}, baseDir: '/' })
  if (reading.faults.length > 0)
    throw new Error(`the fleet's config is wrong: ${JSON.stringify(reading.faults)}`)
  return reading.upstreams
}

function createMember(
  machine: Machine,
  dice: Dice,
  name: string,
  model: Model,
  liftAt: number,
  calm: boolean,
): Member {
  const [transport, era] = model.split('-') as ['stdio' | 'http', 'legacy' | 'modern']
  const app = new App(machine.world, name, era)
  const plan = new FaultPlan(machine.world, name, transport, liftAt, calm)
  const create = transport === 'stdio' ? stdioMember : httpMember
  const repeatable = new Set(['again', 'look'].filter(() => dice.chance(0.5)))
  return { name, model, app, plan, repeatable, ...create(machine, dice, app, plan) }
}

function stdioMember({ world, programs }: Machine, dice: Dice, app: App, plan: FaultPlan) {
  const running = new Set<StdioServer>()
  const traits = {
    polite: dice.chance(0.8),
    forks: dice.chance(0.2),
    diesOnProbe: dice.chance(0.2),
    ignoresCancel: dice.chance(0.4),
  }
  programs.set(app.name, () =>
    plan.condition === 'missing' ? 'missing' : new StdioServer(app, plan, traits, running),
  )
  const crash = () => {
    for (const server of [...running]) server.crash(dice.pick([0, 1, 139]))
  }
  const strike = (kind: Strike) => {
    if (kind === 'crash') return crash()
    if (kind === 'flip-tools') {
      app.flickers = !app.flickers
      for (const server of running) server.changed()
    }
    for (const { process } of running) {
      if (kind === 'close-input') process?.closeInput()
      if (kind === 'close-output') process?.closeOutput()
      if (kind === 'stop-reading') {
        process?.stopReading()
        world.after(Math.min(dice.between(100, 40_000), plan.liftAt - world.now), () =>
          process?.resumeReading(),
        )
      }
    }
  }
  return {
    entry: { command: app.name },
    startMs: 60_000,
    tells: true,
    crash,
    arm: () =>
      plan.arm(strike, (_, now) => {
        if (now === 'down' || now === 'missing') crash()
      }),
  }
}

function httpMember({ network }: Machine, dice: Dice, app: App, plan: FaultPlan) {
  const origin = `http://${app.name}.test`
  const traits = { resumable: dice.chance(0.4), streams: dice.chance(0.7) }
  const server = new HttpServer(app, plan, traits)
  network.sites.set(origin, server)
  const crash = () => {
    server.crash()
    network.cut(origin)
  }
  const strike = (kind: Strike) => {
    if (kind === 'crash') crash()
    else if (kind === 'drop-sessions') server.dropSessions()
    else if (kind === 'cut-streams') server.cutStreams()
    else if (kind === 'flip-tools') {
      app.flickers = !app.flickers
      server.changed()
    }
  }
  return {
    startMs: 20_000,
    tells: app.era === 'modern' || traits.streams,
    crash,
    entry: { url: `${origin}/mcp`, type: 'http' },
    arm: () =>
      plan.arm(strike, (before, now) => {
        if (now === 'down' || now === 'missing') crash()
        // Who comes back from nowhere knows nothing of the connections of before.
        if (before === 'hole') network.cut(origin)
      }),
  }
}
