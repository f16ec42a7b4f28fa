import { GatewayError, LIMITS, messageOf } from '../../model/index.js'
import type { Cell } from './cell.js'

/** How the instances of one server do. */
export interface InstanceFigures {
  /** Those that exist, asleep or not. */
  readonly total: number
  readonly unhealthy: number
  /** Why the one that became unhealthy last is. */
  readonly reason: string | null
  readonly inFlight: number
  readonly queued: number
}

interface Survivor {
  readonly upstream: string
  readonly reason: string
}

/** All instances of the gateway, within their bounds. */
export class CellTable {
  readonly #cells = new Set<Cell>()
  /** Those whose calls may still finish. */
  readonly #leaving = new Set<Cell>()
  readonly #ending = new Set<Promise<readonly Survivor[]>>()

  get size(): number {
    return this.#cells.size
  }

  add(cell: Cell): void {
    this.#cells.add(cell)
  }

  /** @returns resolves when nothing of it is left; rejects when something of it cannot be ended */
  end(cell: Cell, first: Promise<void> | null = null): Promise<void> {
    this.#cells.delete(cell)
    if (first) this.#leaving.add(cell)
    const stop = () => {
      this.#leaving.delete(cell)
      return cell.supervisor.stop()
    }
    const ended = first ? first.then(stop) : stop()
    const settled = ended.then(
      () => [],
      (cause: unknown) => [{ upstream: cell.name, reason: messageOf(cause) }],
    )
    this.#ending.add(settled)
    void settled.then(() => this.#ending.delete(settled))
    return ended
  }

  of(name: string): readonly Cell[] {
    return [...this.#cells].filter(cell => cell.name === name)
  }

  all(): readonly Cell[] {
    return [...this.#cells, ...this.#leaving]
  }

  /** Resolves when those that were told to end have ended, with those of which something may be left. */
  async ended(): Promise<readonly Survivor[]> {
    for (const { supervisor } of this.#leaving) void supervisor.stop().catch(() => undefined)
    return (await Promise.all(this.#ending)).flat()
  }

  /**
   * Lets the instance that was unused for longest go where there is no room for one more.
   * @param isNew false = it exists and wakes up
   * @returns why there is no room: all of them are busy
   */
  makeRoom(upstream: string, isProgram: boolean, isNew: boolean): GatewayError | null {
    while (isNew && this.#cells.size >= LIMITS.instances) {
      if (!this.#letGo(() => true)) return full(upstream, LIMITS.instances, 'instances of servers')
    }
    while (isProgram && this.#programs() >= LIMITS.instanceChildren) {
      const runs = (cell: Cell) => cell.isProgram && !cell.isAsleep
      if (!this.#letGo(runs)) return full(upstream, LIMITS.instanceChildren, 'programs of single identities')
    }
    return null
  }

  figures(name: string): InstanceFigures {
    let [unhealthy, inFlight, queued, since] = [0, 0, 0, -Infinity]
    let reason: string | null = null
    const cells = this.of(name)
    for (const { supervisor } of cells) {
      inFlight += supervisor.inFlight
      queued += supervisor.admission.queued
      const view = supervisor.view()
      if (view.health !== 'unhealthy') continue
      unhealthy += 1
      if (view.since >= since) [since, reason] = [view.since, view.reason]
    }
    return { total: cells.length, unhealthy, reason, inFlight, queued }
  }

  #programs(): number {
    let running = 0
    for (const cell of this.#cells) if (cell.isProgram && !cell.isAsleep) running += 1
    return running
  }

  #letGo(mayGo: (cell: Cell) => boolean): boolean {
    let oldest: Cell | null = null
    for (const cell of this.#cells) {
      if (!cell.isFree || !mayGo(cell)) continue
      if (!oldest || cell.usedAt < oldest.usedAt) oldest = cell
    }
    oldest?.yieldPlace(oldest)
    return oldest !== null
  }
}

function full(upstream: string, most: number, what: string): GatewayError {
  const reason = `${most} ${what} are in use, and no more may`
  return new GatewayError(
    'OVERLOADED',
    `${upstream} is overloaded: ${reason}. The request was not sent; try again later.`,
    { upstream, reason, retryAfterMs: LIMITS.queueMs },
  )
}
