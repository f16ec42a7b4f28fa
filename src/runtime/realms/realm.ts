import {
  type Bytes,
  type GatewayError,
  type Kind,
  LIMITS,
  type Outcome,
  type Scope,
  type UpstreamSpec,
} from '../../model/index.js'
import type { CallRoom } from '../calls/index.js'
import { ChangeWatch } from '../change-watch.js'
import { finished } from '../leaving.js'
import { Listing, type ListRoom } from '../listing.js'
import { revise } from '../live-spec.js'
import type { Host, ListPage, Subscription, SubscriptionEvents } from '../ports.js'
import { Overlay, Store } from '../store.js'
import { type SubscriptionCount, Subscriptions } from '../subscriptions.js'
import type { Supervisor } from '../supervisor.js'
import { Cell, isListed, specOfCell, unusedView, yieldedView } from './cell.js'
import type { CellTable } from './cell-table.js'

/** What one caller sees and reaches. */
export interface Realm extends CallRoom {
  readonly gone: Store
  /** Calls, lists and listeners that need it now. */
  uses: number
  list(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage>
  watch(scope: Scope, listener: (kind: Kind) => void): () => void
  subscribe(scope: Scope, uri: string, events: SubscriptionEvents): Subscription
  /** The instance for lists and look-ups; none is made for it. */
  peek(name: string): Supervisor | undefined
}

export interface RealmRoom {
  readonly host: Host
  readonly table: CellTable
  /** Of all realms together. */
  readonly subscriptions: SubscriptionCount
  /** Monotonic ms, see `ListRoom`. */
  readonly firstListUntil: number
  /** An instance that is not started yet. */
  make(
    spec: UpstreamSpec,
    ofSession: boolean,
    principal: string,
    store: Pick<Store, 'current' | 'viewOf' | 'commitView'>,
  ): Supervisor
}

/** The realm of everybody: the servers that all share, and the own ones of those who were not told apart. */
export class BaseRealm implements Realm {
  uses = 0
  readonly host: Host
  readonly #listing: Listing
  readonly changes: ChangeWatch
  readonly #subscriptions: Subscriptions
  readonly gone = new Store()
  readonly #askedAt = new Map<string, number>()

  constructor(
    readonly store: Store,
    private readonly supervisors: ReadonlyMap<string, Supervisor>,
    { host, firstListUntil, subscriptions }: Omit<RealmRoom, 'table' | 'make'>,
    /** Those that are not started with the gateway, because others have their own of them. */
    private readonly rare: ReadonlySet<string>,
  ) {
    this.host = host
    this.changes = new ChangeWatch(store, host.clock)
    this.#subscriptions = new Subscriptions(this, subscriptions)
    const { clock, random } = host
    const firstListOf = (name: string) => this.#firstListOf(name)
    this.#listing = new Listing({ clock, random, store, supervisors, firstListUntil, firstListOf })
  }

  #firstListOf(name: string): number | undefined {
    if (!this.rare.has(name)) return undefined
    const askedAt = this.#askedAt.get(name) ?? this.host.clock.now()
    this.#askedAt.set(name, askedAt)
    return askedAt + LIMITS.instanceListMs
  }

  supervisor(name: string): Supervisor | undefined {
    return this.supervisors.get(name)
  }

  peek(name: string): Supervisor | undefined {
    return this.supervisors.get(name)
  }

  list(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage> {
    return this.#listing.page(kind, scope, cursor)
  }

  watch(scope: Scope, listener: (kind: Kind) => void): () => void {
    return this.changes.watch(scope, listener)
  }

  /** After a reload. @param lost servers that are no more */
  resume(lost: ReadonlySet<string>): void {
    for (const name of lost) this.#askedAt.delete(name)
    this.#subscriptions.reroute(lost)
  }

  subscribe(scope: Scope, uri: string, events: SubscriptionEvents): Subscription {
    return this.#subscriptions.subscribe(scope, uri, events)
  }
}

/** The realm of one identity or one session: instances of its own in place of some servers, over the realm below. */
export class OwnRealm implements Realm {
  uses = 0
  readonly host: Host
  readonly store: Overlay
  readonly #cells = new Map<string, Cell>()
  readonly #refusals = new Map<string, GatewayError>()
  /** Ended by a reload that is being made. */
  readonly #retired: Supervisor[] = []
  readonly #listing: Listing
  #changes: ChangeWatch | null = null
  #subscriptions: Subscriptions | null = null
  #over = false

  constructor(
    readonly principal: string,
    private readonly parent: Realm,
    /** The servers of which it has its own. */
    private readonly specs: ReadonlyMap<string, UpstreamSpec>,
    private readonly ofSession: boolean,
    private readonly room: RealmRoom,
  ) {
    this.host = room.host
    this.store = new Overlay(parent.store, view => (specs.has(view.name) ? unusedView(view) : null))
    this.#listing = new Listing(this.#listRoom())
    parent.uses += 1
  }

  /** Nobody needs it, and nothing of it is left. */
  get isUnused(): boolean {
    return this.uses === 0 && this.#cells.size === 0
  }

  get gone(): Store {
    return this.parent.gone
  }

  peek(name: string): Supervisor | undefined {
    return this.specs.has(name) ? this.#cells.get(name)?.supervisor : this.parent.peek(name)
  }

  /** The instance, which exists from its first use on; undefined where there is no room for it. */
  supervisor(name: string): Supervisor | undefined {
    const spec = this.specs.get(name)
    if (!spec) return this.parent.supervisor(name)
    const known = this.#cells.get(name)
    const cell = known && !known.isAsleep ? known : this.#admit(spec, known)
    if (cell) cell.usedAt = this.host.clock.now()
    return cell?.supervisor
  }

  refusal(name: string): GatewayError | undefined {
    return this.specs.has(name) ? this.#refusals.get(name) : this.parent.refusal?.(name)
  }

  async list(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage> {
    this.uses += 1
    try {
      if (cursor === null) this.#wake(scope)
      return await this.#listing.page(kind, scope, cursor)
    } finally {
      this.uses -= 1
    }
  }

  watch(scope: Scope, listener: (kind: Kind) => void): () => void {
    this.#changes ??= new ChangeWatch(this.store, this.host.clock)
    const leave = this.#changes.watch(scope, listener)
    this.uses += 1
    this.#wake(scope)
    let left = false
    return () => {
      if (left) return
      left = true
      this.uses -= 1
      leave()
    }
  }

  subscribe(scope: Scope, uri: string, events: SubscriptionEvents): Subscription {
    this.#subscriptions ??= new Subscriptions(this, this.room.subscriptions)
    this.uses += 1
    let needed = true
    const release = () => {
      if (needed) this.uses -= 1
      needed = false
    }
    const settled = (refusal: Outcome | null) => {
      if (refusal) release()
      events.settled(refusal)
    }
    const updated = (params: Bytes) => events.updated(params)
    const subscription = this.#subscriptions.subscribe(scope, uri, { settled, updated })
    return {
      end: () => {
        release()
        subscription.end()
      },
    }
  }

  /** Subscriptions find the instances that there are now. */
  reroute(): void {
    this.#subscriptions?.reroute()
  }

  /** Closes what it has and opens it anew, with nothing of what was known. Resolves when the old is gone. */
  async renew(): Promise<void> {
    const cells = [...this.#cells.values()]
    const awake = cells.filter(cell => !cell.isAsleep).map(({ name }) => name)
    const ends = cells.map(cell => this.#drop(cell))
    for (const name of this.specs.keys()) this.store.clear(name)
    for (const name of awake) this.supervisor(name)?.demand()
    await Promise.allSettled(ends)
  }

  /** What is listed without an instance is listed no more. */
  forgetYielded(name: string): void {
    if (!this.#cells.has(name)) this.store.clear(name)
  }

  /** See `Realms.adopt`. */
  adopt(left: ReadonlySet<string>, updated: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const cell of [...this.#cells.values()]) {
      const spec = this.specs.get(cell.name)
      const options = updated.get(cell.name)
      if (!spec || left.has(cell.name)) this.#retire(cell)
      else if (options) {
        revise(cell.supervisor.spec, specOfCell(spec, this.ofSession))
        cell.supervisor.retune(options)
      }
    }
    for (const name of left) this.#refusals.delete(name)
    for (const name of [...left, ...updated.keys()]) this.forgetYielded(name)
  }

  /** After the commit of the base: who waits at an instance that ended goes on at the one that there is now. */
  resume(left: ReadonlySet<string>, lost: ReadonlySet<string>): void {
    const retired = this.#retired.splice(0)
    for (const old of retired.filter(({ calls }) => calls > 0)) {
      old.successor = this.supervisor(old.spec.name) ?? (lost.has(old.spec.name) ? 'none' : null)
      if (old.successor) old.admission.dismiss()
    }
    if (retired.length > 0) this.store.refresh()
    const names = new Set(retired.map(({ spec }) => spec.name))
    this.#subscriptions?.reroute(
      new Set([...left].filter(name => lost.has(name) || names.has(name) || this.specs.has(name))),
    )
  }

  #retire(cell: Cell): void {
    cell.supervisor.isLeaving = true
    this.#retired.push(cell.supervisor)
    this.#drop(cell, true).catch(() => undefined)
  }

  /** For good. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.parent.uses -= 1
    for (const cell of [...this.#cells.values()]) this.#drop(cell).catch(() => undefined)
    this.#changes?.stop()
    this.#subscriptions?.stop()
    this.store.detach()
  }

  #listRoom(): ListRoom {
    const { host, room } = this
    const realm = this
    return {
      clock: host.clock,
      random: host.random,
      store: this.store,
      firstListUntil: room.firstListUntil,
      firstListOf: name => this.#firstListOf(name),
      get supervisors() {
        return realm.#instances()
      },
    }
  }

  #firstListOf(name: string): number | undefined {
    const cell = this.#cells.get(name)
    return cell && cell.bornAt + LIMITS.instanceListMs
  }

  *#instances(): Iterable<readonly [string, Supervisor]> {
    for (const name of this.store.current.upstreams.keys()) {
      const supervisor = this.peek(name)
      if (supervisor) yield [name, supervisor]
    }
  }

  /** Whoever lists or listens wants to know what is offered; where that is known, nothing has to run for it. */
  #wake(scope: Scope): void {
    for (const view of [...this.store.current.upstreams.values()]) {
      if (view.isolation === 'shared' || (scope.kind === 'server' && scope.name !== view.name)) continue
      if (view.state === 'disabled' || isListed(view)) continue
      const supervisor = this.supervisor(view.name)
      if (supervisor?.spec.lazy) supervisor.demand()
    }
  }

  #admit(spec: UpstreamSpec, known: Cell | undefined): Cell | undefined {
    const { name } = spec
    if (this.#over) return undefined
    const refusal = this.room.table.makeRoom(name, spec.transport.kind === 'stdio', !known)
    if (!refusal) {
      this.#refusals.delete(name)
      return known ?? this.#open(spec)
    }
    this.#refusals.set(name, refusal)
    const seen = this.store.current.upstreams.get(name)
    if (seen && !isListed(seen)) this.store.commitView(unusedView(seen, refusal.details.reason))
    return undefined
  }

  #open(spec: UpstreamSpec): Cell {
    const { name } = spec
    const seen = this.store.current.upstreams.get(name)
    const facade = {
      get current() {
        return realm.store.current
      },
      // One that is on its way out has nothing more to say.
      viewOf: (of: string) => realm.store.viewOf(of),
      commitView: (view: Parameters<Store['commitView']>[0]) => {
        if (realm.#cells.get(name) === cell) realm.store.commitView(view)
      },
    }
    const realm = this
    const supervisor = this.room.make(spec, this.ofSession, this.principal, facade)
    const cell = new Cell(name, this.principal, supervisor, this.host.clock, one => this.#yield(one))
    this.#cells.set(name, cell)
    this.room.table.add(cell)
    if (seen && isListed(seen)) supervisor.catalog.restore(seen.catalog, 0)
    if (seen?.state === 'disabled') void supervisor.disable()
    this.store.commitView(supervisor.view())
    return cell
  }

  #drop(cell: Cell, drains = false): Promise<void> {
    this.#cells.delete(cell.name)
    const ended = this.room.table.end(cell, drains ? finished(cell.supervisor, this.host.clock) : null)
    this.store.clear(cell.name)
    return ended
  }

  /** Somebody else needs the place more. Lists stay as they are: a client that saw them change would ask for it again. */
  #yield(cell: Cell): void {
    const view = this.store.current.upstreams.get(cell.name)
    this.#drop(cell).catch(() => undefined)
    if (view && isListed(view) && this.uses > 0) this.store.commitView(yieldedView(view))
  }
}
