import { type Entry, isEmptyPlan, planReload, type ReloadPlan } from '../core/reload/index.js'
import type { UpstreamSpec, UpstreamView } from '../model/index.js'
import { handOver } from './handover.js'
import { Leaving } from './leaving.js'
import type { Host } from './ports.js'
import type { Store } from './store.js'
import type { Supervisor } from './supervisor.js'

/** How long a new version may take until the old one is replaced all the same, or kept. */
export const SUCCESSION_MS = 10_000
/** Removed servers whose names are still known as such. */
const MAX_GONE = 100
const DOWN: ReadonlySet<string> = new Set(['backoff', 'quarantined', 'misconfigured', 'auth_required'])

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
  reroute(): void
  warn(upstream: string, message: string): void
}

export interface Applied {
  readonly plan: ReloadPlan
  /** New versions that do not work; the old ones serve on. */
  readonly failed: readonly { readonly upstream: string; readonly reason: string }[]
}

/** Brings what runs in line with another configuration: all is prepared first, then one commit, then the rest leaves. */
export class Reload {
  readonly leaving: Leaving
  /** They are tried beside the old ones. */
  readonly #candidates = new Set<Supervisor>()
  /** Nothing is shown between the first change and the commit. */
  isCommitting = false

  constructor(
    private readonly room: ReloadRoom,
    private running: readonly Entry[],
  ) {
    this.leaving = new Leaving(room.host.clock, (upstream, reason) =>
      room.warn(upstream, `could not be ended: ${reason}`),
    )
  }

  /** What runs now, in config order. */
  get entries(): readonly Entry[] {
    return this.running
  }

  plan(wanted: readonly Entry[]): ReloadPlan {
    return planReload(this.running, wanted)
  }

  /** Ends at once what is not seated. Resolves when it is gone. */
  async stop(): Promise<void> {
    const ends = [...this.#candidates].map(one => one.stop().catch(() => undefined))
    await Promise.all([...ends, this.leaving.stop()])
  }

  kill(): void {
    for (const one of this.#candidates) one.kill()
    this.leaving.kill()
  }

  /** One at a time. */
  async apply(wanted: readonly Entry[]): Promise<Applied> {
    const plan = this.plan(wanted)
    if (isEmptyPlan(plan)) return { plan, failed: [] }
    const { successors, failed } = await this.#prepare(plan, wanted)
    if (this.room.isOver) {
      for (const { supervisor } of successors.values()) void this.leaving.add(supervisor)
      return { plan, failed: [] }
    }
    const refused = new Set(failed.map(({ upstream }) => upstream))
    const old = new Map(this.running.map(entry => [entry.name, entry]))
    // One that was kept is what runs; the next reload tries again.
    const next = wanted.map(entry => (refused.has(entry.name) ? (old.get(entry.name) ?? entry) : entry))
    this.#commit(plan, next, successors, refused)
    return { plan, failed }
  }

  // ---- before the commit ----------------------------------------------------------------------------------

  async #prepare(plan: ReloadPlan, wanted: readonly Entry[]) {
    const successors = new Map<string, Successor>()
    const failed: { upstream: string; reason: string }[] = []
    const trials: Promise<void>[] = []
    for (const entry of wanted) {
      if ('problem' in entry) continue
      const isNew = plan.added.includes(entry.name)
      if (!isNew && !plan.restarted.includes(entry.name)) continue
      const old = this.room.supervisors.get(entry.name)
      const successor = this.#successorOf(entry)
      successors.set(entry.name, successor)
      if (!old || !this.#goesBeside(old, entry)) continue
      trials.push(
        this.#trial(successor).then(reason => {
          if (reason === null || entry.onUpdateFailure === 'replace') return
          failed.push({ upstream: entry.name, reason })
          successors.delete(entry.name)
          void this.leaving.add(successor.supervisor)
        }),
      )
    }
    await Promise.all(trials)
    return { successors, failed }
  }

  #successorOf(entry: UpstreamSpec): Successor {
    const successor: Successor = { supervisor: undefined as never, told: () => undefined, isStarted: false }
    successor.supervisor = this.room.make(entry, () => successor.told())
    return successor
  }

  /** Only one that works is worth the wait. */
  #goesBeside(old: Supervisor, entry: UpstreamSpec): boolean {
    const serves = old.state === 'ready' && this.room.isRunning
    return serves && entry.enabled && !entry.exclusive && !this.room.specFor(entry).lazy
  }

  /** @returns why it cannot take the place; null when it is ready, with its lists */
  #trial(successor: Successor): Promise<string | null> {
    const { supervisor } = successor
    this.#candidates.add(supervisor)
    successor.isStarted = true
    return new Promise(resolve => {
      const end = (reason: string | null) => {
        timer.cancel()
        this.#candidates.delete(supervisor)
        successor.told = () => undefined
        resolve(reason)
      }
      const late = () => `it was not ready after ${SUCCESSION_MS / 1_000} s`
      const timer = this.room.host.clock.after(SUCCESSION_MS, () =>
        end(supervisor.state === 'ready' ? null : late()),
      )
      successor.told = () => {
        const view = supervisor.view()
        if (view.state === 'ready' && view.settled) end(null)
        else if (DOWN.has(view.state) || this.room.isOver) end(view.reason ?? view.state)
      }
      supervisor.boot()
    })
  }

  // ---- the commit -----------------------------------------------------------------------------------------

  #commit(
    plan: ReloadPlan,
    next: readonly Entry[],
    successors: ReadonlyMap<string, Successor>,
    refused: ReadonlySet<string>,
  ): void {
    const { room } = this
    const before = new Map(room.supervisors)
    const shown = room.store.current.upstreams
    this.isCommitting = true
    try {
      this.#seat(next, before, successors)
      const updated = this.#update(plan, next)
      const left = new Set([...plan.removed, ...plan.restarted].filter(name => !refused.has(name)))
      this.#handOver(left, before, successors)
      this.running = next
      room.adopt(next, left, updated)
      const kept = new Set(plan.kept)
      this.#bury(plan.removed, next)
      const viewOf = (entry: Entry) =>
        (kept.has(entry.name) ? shown.get(entry.name) : undefined) ??
        room.supervisors.get(entry.name)?.view() ??
        room.viewOf(entry)
      const views = new Map(next.map(entry => [entry.name, Object.freeze(viewOf(entry))]))
      this.isCommitting = false
      room.store.commitViews(views)
    } finally {
      this.isCommitting = false
    }
    this.#start(before, successors, plan)
  }

  #seat(
    next: readonly Entry[],
    before: ReadonlyMap<string, Supervisor>,
    successors: ReadonlyMap<string, Successor>,
  ): void {
    const { supervisors } = this.room
    supervisors.clear()
    for (const entry of next) {
      if ('problem' in entry) continue
      const { name } = entry
      const supervisor = successors.get(name)?.supervisor ?? before.get(name)
      if (supervisor) supervisors.set(name, supervisor)
    }
  }

  #handOver(
    left: ReadonlySet<string>,
    before: ReadonlyMap<string, Supervisor>,
    successors: ReadonlyMap<string, Successor>,
  ): void {
    for (const name of left) {
      const old = before.get(name)
      if (old) handOver(old, successors.get(name)?.supervisor ?? null, this.room.host.clock)
    }
  }

  /** In place: the same process, the same session. */
  #update(plan: ReloadPlan, next: readonly Entry[]): ReadonlyMap<string, ReadonlySet<string>> {
    const entries = new Map(next.map(entry => [entry.name, entry]))
    const updated = new Map<string, ReadonlySet<string>>()
    for (const { name, options } of plan.updated) {
      const entry = entries.get(name)
      const supervisor = this.room.supervisors.get(name)
      if (!entry || !supervisor || 'problem' in entry) continue
      const changed = new Set(options)
      updated.set(name, changed)
      Object.assign(supervisor.spec, this.room.specFor(entry))
      supervisor.retune(changed)
    }
    return updated
  }

  /** What it offered is known as removed, for whoever listed it before. */
  #bury(removed: readonly string[], next: readonly Entry[]): void {
    const { gone, store } = this.room
    const views = new Map(gone.current.upstreams)
    for (const name of removed) {
      const view = store.current.upstreams.get(name)
      if (view) views.set(name, view)
    }
    for (const { name } of next) views.delete(name)
    for (const name of views.keys()) {
      if (views.size <= MAX_GONE) break
      views.delete(name)
    }
    gone.commitViews(views)
  }

  // ---- after the commit -----------------------------------------------------------------------------------

  #start(
    before: ReadonlyMap<string, Supervisor>,
    successors: ReadonlyMap<string, Successor>,
    plan: ReloadPlan,
  ): void {
    let turn = 0
    const boot = (supervisor: Supervisor) => {
      if (!this.room.isRunning) return
      this.room.host.clock.after(turn, () => {
        if (!this.room.isOver) supervisor.boot()
      })
      turn += 2
    }
    const followed = plan.removed.some(name => (before.get(name)?.resources.size ?? 0) > 0)
    for (const [name, old] of before) {
      const now = this.room.supervisors.get(name)
      if (now === old) continue
      const gone = this.leaving.add(old)
      if (now?.spec.exclusive) now.after(gone)
    }
    for (const { supervisor, isStarted } of successors.values()) if (!isStarted) boot(supervisor)
    if (followed) this.room.reroute()
  }
}

interface Successor {
  supervisor: Supervisor
  told: () => void
  isStarted: boolean
}
