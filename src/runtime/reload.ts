import { type Entry, isEmptyPlan, planReload, type ReloadPlan, sameValue } from '../core/reload/index.js'
import type { UpstreamSpec } from '../model/index.js'
import { type Change, Changeover, named, type ReloadRoom } from './changeover.js'
import { asGatewayError, reasonOf } from './failures.js'
import { followOn } from './handover.js'
import { Leaving } from './leaving.js'
import type { Supervisor } from './supervisor.js'
import { type Finding, type Successor, Trials } from './trials.js'

export interface Applied {
  readonly plan: ReloadPlan
  /** What ran before, and what was wanted. */
  readonly before: readonly Entry[]
  readonly wanted: readonly Entry[]
  /** New versions that do not work; the old ones serve on. */
  readonly failed: readonly FailedVersion[]
  /** New versions that are still starting; the old ones serve until they are ready. */
  readonly late: readonly string[]
}

export interface FailedVersion {
  readonly upstream: string
  readonly reason: string
}

/** What became later of a reload that did not wait any longer. */
export type LateNews =
  | { readonly kind: 'applied'; readonly applied: Applied }
  | { readonly kind: 'failed'; readonly failed: FailedVersion }

interface Late {
  readonly entry: UpstreamSpec
  readonly successor: Successor
}

type Successors = Map<string, Successor>

/** Brings what runs in line with another configuration: all is prepared first, then one commit, then the rest leaves. */
export class Reload {
  readonly leaving: Leaving
  readonly #trials: Trials
  /** The one that is being made, or was. */
  #last: Promise<unknown> = Promise.resolve()
  /** What was wanted last. */
  #wanted: readonly Entry[]
  /** Still starting beside the old ones. */
  readonly #late = new Map<string, Late>()
  /** Nothing is shown between the first change and the commit. */
  isCommitting = false

  constructor(
    private readonly room: ReloadRoom,
    private running: readonly Entry[],
    private readonly later: (news: LateNews) => void,
  ) {
    this.#wanted = running
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
   * One after the other.
   * @throws GatewayError that names the server, when something of it cannot be made: then nothing has changed
   */
  apply(wanted: readonly Entry[]): Promise<Applied> {
    this.#wanted = wanted
    const applied = this.#last.then(() => this.#apply(wanted))
    this.#last = applied.catch(() => undefined)
    return applied
  }

  async #apply(wanted: readonly Entry[]): Promise<Applied> {
    const plan = this.plan(wanted)
    const before = this.running
    this.#dropLate(wanted)
    const nothing = { plan, before, wanted, failed: [], late: [] }
    if (isEmptyPlan(plan)) return nothing
    const successors: Successors = new Map()
    try {
      this.#make(plan, wanted, successors)
      const { failed, late } = await this.#try(wanted, successors)
      if (this.room.isOver) {
        this.#dismiss(successors.values())
        return nothing
      }
      const refused = new Set([...failed.map(({ upstream }) => upstream), ...late])
      this.#commit(this.#changeOf(plan, wanted, successors, refused), successors)
      return { ...nothing, failed, late }
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
      const late = this.#late.get(entry.name)
      if (late) {
        this.#late.delete(entry.name)
        successors.set(entry.name, late.successor)
        continue
      }
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
  async #try(wanted: readonly Entry[], successors: Successors): Promise<Pick<Applied, 'failed' | 'late'>> {
    const refused = new Map<string, string>()
    const late: string[] = []
    const trials = wanted.flatMap(entry => {
      const [old, successor] = [this.room.supervisors.get(entry.name), successors.get(entry.name)]
      if (!old || !successor || 'problem' in entry || !this.#goesBeside(old, entry)) return []
      const judge = (finding: Finding) => {
        if (finding.kind === 'ready' || (finding.kind === 'failed' && isReplaced(entry))) return
        if (!successors.delete(entry.name)) return
        if (finding.kind === 'late') {
          late.push(entry.name)
          this.#await(entry, successor)
        } else {
          refused.set(entry.name, finding.reason)
          this.#dismiss([successor])
        }
      }
      const judged = this.#trials.run(successor).then(judge)
      return [judged.then(() => () => judge(now(successor)))]
    })
    for (const lookAgain of await Promise.all(trials)) lookAgain()
    const failed = wanted.flatMap(({ name: upstream }) => {
      const reason = refused.get(upstream)
      return reason === undefined ? [] : [{ upstream, reason }]
    })
    return { failed, late }
  }

  /** The reload does not wait for it; when it is ready, what was wanted last is applied once more. */
  #await(entry: UpstreamSpec, successor: Successor): void {
    const { name } = entry
    this.#late.set(name, { entry, successor })
    this.#trials.await(successor, finding => {
      if (this.room.isOver || this.#late.get(name)?.successor !== successor) return
      if (finding.kind === 'ready' || isReplaced(entry)) {
        const tell = (applied: Applied) => this.later({ kind: 'applied', applied })
        const failed = (thrown: unknown) => {
          const reason = reasonOf(asGatewayError(thrown, name))
          this.later({ kind: 'failed', failed: { upstream: name, reason } })
        }
        this.apply(this.#wanted).then(tell, failed)
      } else if (finding.kind === 'failed') {
        this.#late.delete(name)
        this.#dismiss([successor])
        this.later({ kind: 'failed', failed: { upstream: name, reason: finding.reason } })
      }
    })
  }

  /** One that is wanted as it is goes on. */
  #dropLate(wanted: readonly Entry[]): void {
    if (this.#late.size === 0) return
    const entries = new Map(wanted.map(entry => [entry.name, entry]))
    for (const [name, { entry, successor }] of this.#late) {
      if (sameValue(entry, entries.get(name))) continue
      this.#late.delete(name)
      this.#dismiss([successor])
    }
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
    const { running } = this
    const old = new Map(running.map(entry => [entry.name, entry]))
    const next = wanted.map(entry => (refused.has(entry.name) ? (old.get(entry.name) ?? entry) : entry))
    const left = new Set([...plan.removed, ...plan.restarted].filter(name => !refused.has(name)))
    return {
      plan,
      running,
      next,
      successors: new Map(successors),
      before: new Map(this.room.supervisors),
      left,
    }
  }

  // ---- the commit -----------------------------------------------------------------------------------------

  /** Everything that can fail comes before anything of it is seen. */
  #commit(change: Change, successors: Successors): void {
    const views = this.#changeOver(change)
    // They have their places.
    successors.clear()
    this.running = change.next
    this.#sendOff(change)
    this.room.store.commitViews(views)
    this.#start(change)
  }

  #changeOver(change: Change): ReturnType<Changeover['make']> {
    this.isCommitting = true
    try {
      return new Changeover(this.room, change).make()
    } catch (thrown) {
      this.isCommitting = false
      // What changed in place and back again may not be quite as it was shown.
      for (const { name } of change.plan.updated) this.#show(name)
      throw thrown
    } finally {
      this.isCommitting = false
    }
  }

  #show(name: string): void {
    const supervisor = this.room.supervisors.get(name)
    if (supervisor) this.room.store.commitView(supervisor.view())
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

/** It takes the place also when it does not start. */
function isReplaced({ onUpdateFailure }: UpstreamSpec): boolean {
  return onUpdateFailure === 'replace'
}

/** A trial lasts as long as the longest of all: who was ready may be gone by its end. */
function now({ supervisor }: Successor): Finding {
  if (supervisor.state === 'ready') return { kind: 'ready' }
  return { kind: 'failed', reason: `it ended again: ${supervisor.view().reason ?? supervisor.state}` }
}
