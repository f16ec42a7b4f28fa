import type { Dice } from './dice.js'
import type { Mood, RequestFault } from './models/app.js'
import type { World } from './world.js'

export type Strike =
  | 'crash'
  | 'drop-sessions'
  | 'cut-streams'
  | 'flip-tools'
  | 'stop-reading'
  | 'close-input'
  | 'close-output'

type Condition = Mood['condition']

export interface Trouble {
  readonly from: number
  readonly to: number
  readonly condition: Condition
  /** Probability that one request meets a fault. */
  readonly flaky: number
}

const STDIO_STRIKES: readonly Strike[] = [
  'crash',
  'flip-tools',
  'stop-reading',
  'close-input',
  'close-output',
]
const HTTP_STRIKES: readonly Strike[] = ['crash', 'flip-tools', 'drop-sessions', 'cut-streams']

/** What befalls one server, and when: drawn from the seed before the run begins. */
export class FaultPlan implements Mood {
  readonly troubles: readonly Trouble[]
  readonly strikes: readonly { readonly at: number; readonly kind: Strike }[]
  readonly #dice: Dice
  #current: Trouble | null = null
  /** Until then it asked to be left alone. */
  restsUntil = 0

  constructor(
    private readonly world: World,
    readonly name: string,
    transport: 'stdio' | 'http',
    readonly liftAt: number,
    calm: boolean,
  ) {
    this.#dice = world.dice(`faults ${name}`)
    this.troubles = calm ? [] : this.#drawTroubles(transport)
    this.strikes = calm ? [] : this.#drawStrikes(transport)
  }

  get condition(): Condition {
    return this.#current?.condition ?? 'well'
  }

  /** Lets everything happen at its time. */
  arm(strike: (kind: Strike) => void, changed: (before: Condition, now: Condition) => void): void {
    for (const trouble of this.troubles) {
      this.world.after(trouble.from, () => this.#turn(trouble, changed))
      this.world.after(trouble.to, () => this.#turn(null, changed))
    }
    for (const { at, kind } of this.strikes) {
      this.world.after(at, () => {
        this.#note(kind)
        strike(kind)
      })
    }
  }

  faultFor(method: string, known: readonly RequestFault[]): RequestFault | null {
    if (this.condition !== 'well' || !this.#dice.chance(this.#current?.flaky ?? 0)) return null
    const fault = this.#dice.pick(known)
    this.#note(`${fault} on ${method}`)
    return fault
  }

  asksForRest(until: number, isCall: boolean, asDate: boolean): void {
    this.restsUntil = Math.max(this.restsUntil, until)
    if (isCall) this.world.note({ kind: 'rest', upstream: this.name, until, asDate })
  }

  /** How long the last run of troubles took, with less than two minutes of peace in between. */
  get lastOutageMs(): number {
    const troubles = [
      ...this.troubles.map(({ from, to }) => ({ from, to })),
      ...this.strikes.map(({ at }) => ({ from: at, to: at })),
    ].sort((a, b) => b.to - a.to)
    let from = this.liftAt
    for (const trouble of troubles) if (trouble.to > from - 120_000) from = Math.min(from, trouble.from)
    return this.liftAt - from
  }

  #turn(trouble: Trouble | null, changed: (before: Condition, now: Condition) => void): void {
    const before = this.condition
    this.#current = trouble
    this.#note(trouble ? `${trouble.condition}${trouble.flaky > 0 ? ' and flaky' : ''}` : 'well again')
    if (this.condition !== before) changed(before, this.condition)
  }

  #note(what: string): void {
    this.world.note({ kind: 'fault', upstream: this.name, what })
  }

  #drawTroubles(transport: 'stdio' | 'http'): Trouble[] {
    const dice = this.#dice
    const troubles: Trouble[] = []
    let at = dice.chance(0.3) ? 0 : dice.between(100, 20_000)
    while (at < this.liftAt) {
      const length = dice.chance(0.7) ? dice.between(500, 15_000) : dice.between(15_000, 100_000)
      const to = Math.min(at + length, this.liftAt)
      const condition = dice.weighted<Condition>({
        well: 6,
        down: 3,
        mute: 2,
        hole: transport === 'http' ? 2 : 0,
        missing: transport === 'stdio' ? 0.5 : 0,
      })
      const flaky = condition === 'well' ? dice.pick([0.1, 0.3, 0.8]) : 0
      troubles.push({ from: at, to, condition, flaky })
      at = to + dice.between(200, 30_000)
    }
    return troubles
  }

  #drawStrikes(transport: 'stdio' | 'http'): { at: number; kind: Strike }[] {
    const dice = this.#dice
    const kinds = transport === 'stdio' ? STDIO_STRIKES : HTTP_STRIKES
    return Array.from({ length: dice.between(0, 8) }, () => ({
      at: dice.between(50, this.liftAt - 1),
      kind: dice.pick(kinds),
    })).sort((a, b) => a.at - b.at)
  }
}
