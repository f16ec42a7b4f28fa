import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { TestGateway } from './gateway.js'
import { freshFolder } from './run-folder.js'
import { until } from './until.js'

/** Wall clocks that a test can set while the gateways run; their monotonic clocks go on as ever. */
export class WallClock {
  readonly #folder = freshFolder('clock')
  readonly #ahead = new Map<number, number>()

  constructor() {
    writeFileSync(this.#path('clock.mjs'), PROGRAM)
  }

  /** For each gateway whose wall clock is to be set. */
  get env(): Readonly<Record<string, string>> {
    return {
      NODE_OPTIONS: `--import=${pathToFileURL(this.#path('clock.mjs')).href}`,
      TEST_CLOCK: this.#folder,
    }
  }

  /** From now on the gateway's wall clock is so far from the real one. */
  async set(gateway: TestGateway, aheadMs: number): Promise<void> {
    const taken = this.#path(`${gateway.pid}.taken`)
    rmSync(taken, { force: true })
    writeFileSync(this.#path(`${gateway.pid}.wanted`), String(aheadMs))
    gateway.signal('SIGUSR2')
    await until('the wall clock is set', () => existsSync(taken))
    this.#ahead.set(gateway.pid, aheadMs)
  }

  /** What the gateway takes for the time. */
  now(gateway: TestGateway): number {
    return Date.now() + (this.#ahead.get(gateway.pid) ?? 0)
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}

const PROGRAM = `
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
const Real = Date
let ahead = 0
const now = () => Real.now() + ahead
globalThis.Date = class Date extends Real {
  constructor(...args) { args.length > 0 ? super(...args) : super(now()) }
  static now() { return now() }
}
const path = name => join(process.env.TEST_CLOCK ?? '', process.pid + '.' + name)
process.on('SIGUSR2', () => {
  ahead = Number(readFileSync(path('wanted'), 'utf8'))
  writeFileSync(path('taken'), '')
})
`
