import { type Entry, isEmptyPlan, planReload, type ReloadPlan } from '../core/reload/index.js'
import { GatewayError, type UpstreamSpec, type UpstreamView } from '../model/index.js'
import { asGatewayError, reasonOf } from './failures.js'
import { followOn, handOver } from './handover.js'
import { Leaving } from './leaving.js'
import { revise } from './live-spec.js'
import type { Host } from './ports.js'
import type { Store } from './store.js'
import type { Supervisor } from './supervisor.js'
import { type Successor, Trials } from './trials.js'

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

export interface Applied {
  readonly plan: ReloadPlan
  /** New versions that do not work; the old ones serve on. */
  readonly failed: readonly { readonly upstream: string; readonly reason: string }[]
}

type Successors = Map<string, Successor>

/** One commit: what is, what is to be, and the way back while something may still fail. */
interface Change {
  readonly plan: ReloadPlan
  readonly next: readonly Entry[]
  readonly successors: ReadonlyMap<string, Successor>
  readonly before: ReadonlyMap<string, Supervisor>
  /** Removed, or replaced. */
  readonly left: ReadonlySet<string>
  readonly undo: (() => void)[]
}

/** Brings what runs in line with another configuration: all is prepared first, then one commit, then the rest leaves. */
export class Reload {
  readonly leaving: Leaving
  readonly #trials: Trials
  /** Nothing is shown between the first change and the commit. */
  isCommitting = false

  constructor(
    private readonly room: ReloadRoom,
    private running: readonly Entry[],
  ) {
    this.#trials = new Trials(room.host, () => room.isOver)
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
    await Promise.all([this.#trials.stop(), this.leaving.stop()])
  }

  kill(): void {
    this.#trials.kill()
    this.leaving.kill()
  }

  /**
   * One at a time.
   * @throws GatewayError that names the server, when something of it cannot be made: then nothing has changed
   */
  async apply(wanted: readonly Entry[]): Promise<Applied> {
    const plan = this.plan(wanted)
    if (isEmptyPlan(plan)) return { plan, failed: [] }
    const successors: Successors = new Map()
    try {
      this.#make(plan, wanted, successors)
      const failed = await this.#try(wanted, successors)
      if (this.room.isOver) {
        this.#dismiss(successors.values())
        return { plan, failed: [] }
      }
      this.#commit(this.#changeOf(plan, wanted, successors, new Set(failed.map(({ upstream }) => upstream))))
      return { plan, failed }
    } catch (thrown) {
      this.#dismiss(successors.values())
      throw thrown
    }
  }

  // ---- before the commit ----------------------------------------------------------------------------------

  /** All of them, before the first is started. */
  #make(plan: ReloadPlan, wanted: readonly Entry[], successors: Successors): void {
    const isMade = new Set([...plan.added, ...plan.restarted])
    for (const entry of wanted) {
      if ('problem' in entry || !isMade.has(entry.name)) continue
      const old = this.room.supervisors.get(entry.name)
      const make = (heard: () => void) =>
        named(entry.name, () => {
          const supervisor = this.room.make(entry, heard)
          if (old) supervisor.catalog.inherit(old.catalog)
          return supervisor
        })
      successors.set(entry.name, this.#trials.begin(make))
    }
  }

  /** Lets those that would take the place of one that works show that they work too. */
  async #try(wanted: readonly Entry[], successors: Successors): Promise<Applied['failed']> {
    const tried = wanted.flatMap(entry => {
      const [old, successor] = [this.room.supervisors.get(entry.name), successors.get(entry.name)]
      if (!old || !successor || 'problem' in entry || !this.#goesBeside(old, entry)) return []
      return [{ entry, successor, result: this.#trials.run(successor) }]
    })
    const results = await Promise.all(tried.map(({ result }) => result))
    return tried.flatMap(({ entry: { name, onUpdateFailure }, successor }, index) => {
      const reason = results[index] ?? endedAgain(successor.supervisor)
      if (reason === null || onUpdateFailure === 'replace') return []
      successors.delete(name)
      this.#dismiss([successor])
      return [{ upstream: name, reason }]
    })
  }

  /** Only one that works is worth the wait. */
  #goesBeside(old: Supervisor, entry: UpstreamSpec): boolean {
    const serves = old.state === 'ready' && this.room.isRunning
    return serves && entry.enabled && !entry.exclusive && !this.room.specFor(entry).lazy
  }

  #dismiss(successors: Iterable<Successor>): void {
    for (const successor of successors) {
      this.#trials.end(successor)
      void this.leaving.add(successor.supervisor)
    }
  }

  /** @param refused their old versions serve on; the next reload tries again */
  #changeOf(
    plan: ReloadPlan,
    wanted: readonly Entry[],
    successors: Successors,
    refused: ReadonlySet<string>,
  ): Change {
    const old = new Map(this.running.map(entry => [entry.name, entry]))
    const next = wanted.map(entry => (refused.has(entry.name) ? (old.get(entry.name) ?? entry) : entry))
    const left = new Set([...plan.removed, ...plan.restarted].filter(name => !refused.has(name)))
    return { plan, next, successors, before: new Map(this.room.supervisors), left, undo: [] }
  }

  // ---- the commit -----------------------------------------------------------------------------------------

  /** Everything that can fail comes before anything of it is seen; a store never fails. */
  #commit(change: Change): void {
    const { store } = this.room
    this.isCommitting = true
    let views: ReadonlyMap<string, UpstreamView>
    try {
      views = this.#swap(change)
    } catch (thrown) {
      for (const back of change.undo.reverse()) back()
      this.isCommitting = false
      for (const { name } of change.plan.updated) this.#showAgain(name)
      throw thrown
    }
    this.isCommitting = false
    this.#sendOff(change)
    store.commitViews(views)
    this.#start(change)
  }

  #swap(change: Change): ReadonlyMap<string, UpstreamView> {
    const { plan, next, left, undo } = change
    const { room } = this
    const shown = room.store.current.upstreams
    this.#seat(change)
    this.#handOver(change)
    const updated = this.#update(change)
    const before = this.running
    undo.push(() => {
      this.running = before
      room.adopt(before, new Set(), updated)
    })
    this.running = next
    room.adopt(next, left, updated)
    this.#bury(change)
    const kept = new Set(plan.kept)
    const viewOf = (entry: Entry) =>
      (kept.has(entry.name) ? shown.get(entry.name) : undefined) ??
      room.supervisors.get(entry.name)?.view() ??
      room.viewOf(entry)
    return new Map(next.map(entry => [entry.name, Object.freeze(viewOf(entry))]))
  }

  #showAgain(name: string): void {
    const supervisor = this.room.supervisors.get(name)
    if (supervisor) this.room.store.commitView(supervisor.view())
  }

  #seat({ next, before, successors, undo }: Change): void {
    const { supervisors } = this.room
    const place = (seats: Iterable<readonly [string, Supervisor]>) => {
      supervisors.clear()
      for (const [name, supervisor] of seats) supervisors.set(name, supervisor)
    }
    undo.push(() => place(before))
    place(
      next.flatMap(entry => {
        if ('problem' in entry) return []
        const supervisor = successors.get(entry.name)?.supervisor ?? before.get(entry.name)
        return supervisor ? [[entry.name, supervisor] as const] : []
      }),
    )
  }

  #handOver({ left, before, successors, undo }: Change): void {
    for (const name of left) {
      const old = before.get(name)
      if (old) undo.push(named(name, () => handOver(old, successors.get(name)?.supervisor ?? null)))
    }
  }

  /** In place: the same process, the same session. */
  #update({ plan, next, undo }: Change): ReadonlyMap<string, ReadonlySet<string>> {
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
        undo.push(() => {
          back()
          supervisor.retune(changed)
        })
        supervisor.retune(changed)
      })
    }
    return updated
  }

  /** What it offered is known as removed, for whoever listed it before. */
  #bury({ plan, next, undo }: Change): void {
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
    undo.push(() => gone.commitViews(before))
    gone.commitViews(views)
  }

  /** Before anybody hears of the successors, and needs them. */
  #sendOff({ before, successors, left }: Change): void {
    for (const name of left) {
      const old = before.get(name)
      if (old) void this.leaving.add(old)
    }
    for (const [name, successor] of successors) {
      const { supervisor } = successor
      this.#trials.end(successor)
      if (supervisor.spec.exclusive) supervisor.after(this.leaving.goneOf(name))
    }
  }

  // ---- after the commit -----------------------------------------------------------------------------------

  #start({ before, successors, left }: Change): void {
    const { supervisors, host, isRunning } = this.room
    for (const name of left) {
      const [old, now] = [before.get(name), supervisors.get(name)]
      if (old && now) followOn(old, now, host.clock)
      old?.admission.dismiss()
    }
    let turn = 0
    for (const { supervisor, isStarted } of successors.values()) {
      if (isStarted || !isRunning) continue
      host.clock.after(turn, () => {
        if (this.room.isOver) return
        if (supervisor.resources.size > 0) supervisor.demand()
        else supervisor.boot()
      })
      turn += 2
    }
    this.room.resume(left, new Set([...left].filter(name => !supervisors.has(name))))
  }
}

/** A trial lasts as long as the longest of all: who was ready may be gone by its end. */
function endedAgain(supervisor: Supervisor): string | null {
  if (supervisor.state === 'ready') return null
  return `it ended again: ${supervisor.view().reason ?? supervisor.state}`
}

/** What fails, with the server at which it did. */
function named<T>(upstream: string, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    const reason = reasonOf(asGatewayError(thrown, upstream))
    const message = `${upstream}: it cannot be taken over: ${reason}`
    throw new GatewayError('INTERNAL', message, { upstream, reason, cause: thrown })
  }
}
