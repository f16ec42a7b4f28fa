import { expect } from 'vitest'
import type { GatewayStatus, UpstreamStatus } from '../../src/control/status.js'
import type { Fleet, Layout } from '../kit/fleet.js'
import type { TestGateway } from '../kit/gateway.js'
import { descendantsOf, descriptorsOf, residentBytes } from '../kit/processes.js'
import { until } from '../kit/until.js'
import type { History } from './edits.js'

/** What one server was at a moment. */
interface Seen {
  readonly status: UpstreamStatus
  readonly sessions: number | null
}

/** Compares what runs with what the file says, each time that the gateway has caught up with it. */
export class Follower {
  #generation = 1
  /** Layouts with which the gateway had caught up. */
  #settled = 0
  #seen = new Map<string, Seen>()
  #kept = 0
  #renewed = 0

  constructor(
    private readonly gateway: TestGateway,
    private readonly fleet: Fleet,
    private readonly history: History,
  ) {}

  get figures(): string {
    return `generation ${this.#generation} after ${this.#settled} layouts; ${this.#kept} times a server was kept, ${this.#renewed} times renewed`
  }

  /** Resolves when what the file has runs, and is as it should be. */
  async settled(): Promise<void> {
    const { gateway, history } = this
    const names = history.last.map(({ name }) => name).join()
    let status: GatewayStatus | undefined
    await until(
      'the file is taken over',
      async () => {
        const { ok, added, removed, updated } = await gateway.reload({ dryRun: true })
        status = await gateway.status()
        const isSame = ok && [...added, ...removed, ...updated].length === 0
        return isSame && status.upstreams.map(({ name }) => name).join() === names
      },
      20_000,
    )
    if (status) this.#compare(status)
  }

  /** The log tells each of them, one after the other. */
  expectOneApplyForEach(): void {
    const told = this.gateway.log.flatMap(line => {
      const message = typeof line === 'string' ? line : String(line['message'])
      const found = /^Configuration (\d+) is taken over/.exec(message)?.[1]
      return found === undefined ? [] : [Number(found)]
    })
    expect(told).toEqual(Array.from({ length: this.#generation - 1 }, (_, at) => at + 2))
  }

  #compare({ gateway: { config }, upstreams }: GatewayStatus): void {
    const { history } = this
    const pending = history.since(history.applied)
    const written = pending.length - 1
    const generation = config.generation ?? 0
    // Of those that follow each other quickly some may be skipped; what stays the same is never counted.
    expect(generation - this.#generation).toBeLessThanOrEqual(written)
    expect(generation - this.#generation).toBeGreaterThanOrEqual(Math.min(1, written))
    expect(config.lastError).toBeNull()
    expect(upstreams.map(({ name, prefix }) => `${name} ${prefix}`)).toEqual(
      history.last.map(({ name, prefix }) => `${name} ${prefix}`),
    )
    const now = new Map<string, Seen>()
    for (const status of upstreams) {
      now.set(status.name, { status, sessions: this.fleet.sessions(status.name) })
      const before = this.#seen.get(status.name)
      if (before?.status.state === 'ready') this.#judge(before, status, pending)
    }
    this.#seen = now
    this.#generation = generation
    this.#settled += written
    history.settle()
  }

  /** Kept where no layout changed what it is; another one where the last two differ in that. */
  #judge(before: Seen, status: UpstreamStatus, pending: readonly Layout[]): void {
    const { name } = status
    const revisions = new Set(pending.map(layout => layout.find(one => one.name === name)?.revision))
    const isStdio = this.fleet.fake(name).transport === 'stdio'
    if (revisions.size > 1) {
      this.#renewed += 1
      if (isStdio) expect(status.pid, name).not.toBe(before.status.pid)
      return
    }
    this.#kept += 1
    const { pid, since, restarts } = before.status
    expect(status, name).toMatchObject({ pid, since, restarts, state: 'ready' })
    expect(this.fleet.sessions(name), name).toBe(before.sessions)
  }
}

export interface Holdings {
  readonly children: readonly number[]
  readonly sockets: number
  /** Descriptors of all other kinds: pipes, files, watches. */
  readonly others: number
  readonly rss: number
}

export function holdingsOf(pid: number): Holdings {
  const all = descriptorsOf(pid)
  const sockets = all.filter(one => one.startsWith('socket:')).length
  return { children: descendantsOf(pid), sockets, others: all.length - sockets, rss: residentBytes(pid) }
}

export function describeHoldings(label: string, { children, sockets, others, rss }: Holdings): string {
  return `${label}: ${children.length} children, ${sockets} sockets, ${others} other descriptors, ${Math.round(rss / 1024 / 1024)} MB`
}
