import type { Entry, ReloadPlan } from '../core/reload/index.js'
import { GatewayError, type UpstreamSpec, type UpstreamView } from '../model/index.js'
import { asGatewayError, reasonOf } from './failures.js'
import { handOver } from './handover.js'
import { revise } from './live-spec.js'
import type { Host } from './ports.js'
import type { Store } from './store.js'
import type { Supervisor } from './supervisor.js'
import type { Successor } from './trials.js'

/** Removed servers whose names are still known as such. */
const MAX_GONE = 100

/** What a reload changes. */
export interface ReloadRoom {
  readonly host: Host
  readonly store: Store
  readonly gone: Store
  /** By name, in config order. */
  readonly supervisors: Map<string, Supervisor>
  /** Its servers may be started. */
  readonly isRunning: boolean
  readonly isOver: boolean
  /** One that is not started yet. @param heard told of each view that it would show */
  make(spec: UpstreamSpec, heard?: () => void): Supervisor
  /** The values as its shared instance runs them. */
  specFor(spec: UpstreamSpec): UpstreamSpec
  viewOf(entry: Entry): UpstreamView
  /** What instances of single identities run. */
  adopt(
    running: readonly Entry[],
    left: ReadonlySet<string>,
    updated: ReadonlyMap<string, ReadonlySet<string>>,
  ): void
  /**
   * After the commit: whoever waited at an instance that ended, or followed its resources, goes on.
   * @param lost servers without a successor
   */
  resume(left: ReadonlySet<string>, lost: ReadonlySet<string>): void
  warn(upstream: string, message: string): void
}

/** What is, and what is to be. */
export interface Change {
  readonly plan: ReloadPlan
  readonly running: readonly Entry[]
  readonly next: readonly Entry[]
  readonly successors: ReadonlyMap<string, Successor>
  readonly before: ReadonlyMap<string, Supervisor>
  /** Removed, or replaced. */
  readonly left: ReadonlySet<string>
}

/** One change of everything that runs. Nothing of it is seen before all of it is made, and each step knows the way back. */
export class Changeover {
  readonly #undo: (() => void)[] = []

  constructor(
    private readonly room: ReloadRoom,
    private readonly change: Change,
  ) {}

  /**
   * @returns what is to be shown
   * @throws GatewayError that names the server; then all is as it was
   */
  make(): ReadonlyMap<string, UpstreamView> {
    try {
      this.#seat()
      this.#handOver()
      this.#adopt(this.#update())
      this.#bury()
      return this.#views()
    } catch (thrown) {
      for (const back of this.#undo.reverse()) back()
      throw thrown
    }
  }

  #seat(): void {
    const { next, before, successors } = this.change
    const { supervisors } = this.room
    const place = (seats: Iterable<readonly [string, Supervisor]>) => {
      supervisors.clear()
      for (const [name, supervisor] of seats) supervisors.set(name, supervisor)
    }
    this.#undo.push(() => place(before))
    place(
      next.flatMap(entry => {
        if ('problem' in entry) return []
        const supervisor = successors.get(entry.name)?.supervisor ?? before.get(entry.name)
        return supervisor ? [[entry.name, supervisor] as const] : []
      }),
    )
  }

  #handOver(): void {
    const { left, before, successors } = this.change
    for (const name of left) {
      const old = before.get(name)
      if (old) this.#undo.push(named(name, () => handOver(old, successors.get(name)?.supervisor ?? null)))
    }
  }

  /** In place: the same process, the same session. */
  #update(): ReadonlyMap<string, ReadonlySet<string>> {
    const { plan, next } = this.change
    const entries = new Map(next.map(entry => [entry.name, entry]))
    const updated = new Map<string, ReadonlySet<string>>()
    for (const { name, options } of plan.updated) {
      const entry = entries.get(name)
      const supervisor = this.room.supervisors.get(name)
      if (!entry || !supervisor || 'problem' in entry) continue
      const changed = new Set(options)
      updated.set(name, changed)
      named(name, () => {
        const back = revise(supervisor.spec, this.room.specFor(entry))
        this.#undo.push(() => {
          back()
          supervisor.retune(changed)
        })
        supervisor.retune(changed)
      })
    }
    return updated
  }

  /** What it offered is known as removed, for whoever listed it before. */
  #bury(): void {
    const { plan, next } = this.change
    const { gone, store } = this.room
    const before = gone.current.upstreams
    const views = new Map(before)
    for (const name of plan.removed) {
      const view = store.current.upstreams.get(name)
      if (view) views.set(name, view)
    }
    for (const { name } of next) views.delete(name)
    for (const name of views.keys()) {
      if (views.size <= MAX_GONE) break
      views.delete(name)
    }
    this.#undo.push(() => gone.commitViews(before))
    gone.commitViews(views)
  }

  /** Instances of single identities that it ends are made anew when they are needed. */
  #adopt(updated: ReadonlyMap<string, ReadonlySet<string>>): void {
    const { running, next, left } = this.change
    this.#undo.push(() => this.room.adopt(running, new Set(), updated))
    this.room.adopt(next, left, updated)
  }

  #views(): ReadonlyMap<string, UpstreamView> {
    const { store, supervisors } = this.room
    const { plan, next } = this.change
    const shown = store.current.upstreams
    const kept = new Set(plan.kept)
    const viewOf = (entry: Entry) =>
      (kept.has(entry.name) ? shown.get(entry.name) : undefined) ??
      supervisors.get(entry.name)?.view() ??
      this.room.viewOf(entry)
    return new Map(next.map(entry => [entry.name, named(entry.name, () => Object.freeze(viewOf(entry)))]))
  }
}

/** What fails, with the server at which it did. */
export function named<T>(upstream: string, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    const reason = reasonOf(asGatewayError(thrown, upstream))
    const message = `${upstream}: it cannot be taken over: ${reason}`
    throw new GatewayError('INTERNAL', message, { upstream, reason, cause: thrown })
  }
}
