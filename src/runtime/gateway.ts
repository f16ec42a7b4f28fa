import { mergeInstructions } from '../core/catalog/index.js'
import { isServing, Suspicion } from '../core/health/index.js'
import type { Entry, ReloadPlan } from '../core/reload/index.js'
import { resolve } from '../core/route/index.js'
import {
  type Bytes,
  type Call,
  type Caller,
  type CatalogEntry,
  type HeaderParam,
  type Kind,
  LIMITS,
  type MisconfiguredSpec,
  messageOf,
  type Outcome,
  type Scope,
  type Snapshot,
  type UpstreamSpec,
  type UpstreamView,
} from '../model/index.js'
import { refuseLater, startCall } from './calls/index.js'
import type { ReloadRoom } from './changeover.js'
import { Crowd } from './crowd.js'
import { endAtOnce } from './endings.js'
import { misconfiguredView } from './misconfigured-view.js'
import type { Neighbourhood, SupervisorEvents } from './neighbourhood.js'
import type {
  Connector,
  ConnectorFactory,
  GatewayCore,
  Host,
  ListPage,
  Offer,
  RunningCall,
  Subscription,
  SubscriptionEvents,
  Timer,
  UpstreamActions,
} from './ports.js'
import {
  BaseRealm,
  CellTable,
  type CredentialSource,
  type InstanceFigures,
  type RealmRoom,
  Realms,
  specOfBase,
  specOfCell,
  withCredentials,
} from './realms/index.js'
import { type Applied, type LateNews, Reload } from './reload.js'
import { renderEntry } from './rewrite.js'
import { Store } from './store.js'
import { Supervisor } from './supervisor.js'

export interface RuntimeOptions {
  readonly host: Host
  readonly connectors: ConnectorFactory
  /** In config order. */
  readonly upstreams: readonly (UpstreamSpec | MisconfiguredSpec)[]
  readonly info: { readonly name: string; readonly title: string; readonly version: string }
  readonly events: SupervisorEvents
  /** Clients are told apart. */
  readonly hasIdentities?: boolean
  /** Headers of single identities, for servers that are not shared by all. */
  readonly credentials?: CredentialSource | undefined
  /** Told what became of versions that a reload did not wait for. */
  readonly later?: (news: LateNews) => void
}

/** An upstream of which something may be left. */
export interface StopFailure {
  readonly upstream: string
  readonly reason: string
}

/** What the gateway offers, whichever servers are up. */
const CAPABILITIES = {
  tools: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  prompts: { listChanged: true },
  completions: {},
  logging: {},
}

/** The running gateway without any face: upstreams, store, calls and lists. */
export class Runtime implements GatewayCore {
  readonly store = new Store()
  readonly supervisors = new Map<string, Supervisor>()
  draining = false
  #booted = false
  readonly #boots: Timer[] = []
  readonly #base: BaseRealm
  readonly #realms: Realms
  readonly #crowd = new Crowd()
  readonly #idle = new Set<() => void>()
  readonly #suspicion = new Suspicion()
  readonly #rare = new Set<string>()
  readonly #reload: Reload

  constructor(private readonly options: RuntimeOptions) {
    const { host, upstreams, events } = options
    const around = { host, store: this.store, events, suspicion: this.#suspicion }
    this.#learnRare(upstreams)
    const views = new Map<string, UpstreamView>()
    for (const spec of upstreams) {
      if ('problem' in spec) {
        views.set(spec.name, misconfiguredView(spec, host.clock.wallTime()))
        continue
      }
      const supervisor = this.#make(spec)
      this.supervisors.set(spec.name, supervisor)
      views.set(spec.name, supervisor.view())
    }
    this.store.commitViews(views)
    const firstListUntil = host.clock.now() + LIMITS.firstListMs
    const room = { host, firstListUntil, subscriptions: { open: 0 } }
    this.#base = new BaseRealm(this.store, this.supervisors, room, this.#rare)
    this.#realms = new Realms(this.#base, working(upstreams), {
      ...room,
      table: new CellTable(),
      make: cellMaker(this.options, around),
    })
    this.#reload = new Reload(this.#reloadRoom(), upstreams, news => options.later?.(news))
  }

  /** What runs now, in config order. */
  get entries(): readonly Entry[] {
    return this.#reload.entries
  }

  /** What a reload would do. */
  planReload(wanted: readonly Entry[]): ReloadPlan {
    return this.#reload.plan(wanted)
  }

  /** Brings what runs in line with another configuration; one at a time. */
  reload(wanted: readonly Entry[]): Promise<Applied> {
    return this.#reload.apply(wanted)
  }

  /** It shows what it has to show only while it has its place. */
  #make(spec: UpstreamSpec, heard: () => void = () => undefined): Supervisor {
    const { host, connectors, events } = this.options
    const live = this.#specFor(spec)
    const { store, supervisors } = this
    const seat = {
      get current() {
        return store.current
      },
      viewOf: (name: string) => store.viewOf(name),
      commitView: (view: UpstreamView) => {
        if (supervisors.get(spec.name) === supervisor && !this.#reload.isCommitting) store.commitView(view)
        heard()
      },
    }
    const around = { host, store: seat, events, suspicion: this.#suspicion }
    const supervisor = new Supervisor(live, connectors(live), around)
    return supervisor
  }

  /** A copy: a reload changes it in place. */
  #specFor(spec: UpstreamSpec): UpstreamSpec {
    return { ...specOfBase(spec, this.options.hasIdentities ?? false) }
  }

  #learnRare(entries: readonly Entry[]): void {
    this.#rare.clear()
    for (const spec of working(entries))
      if (specOfBase(spec, this.options.hasIdentities ?? false) !== spec) this.#rare.add(spec.name)
  }

  #reloadRoom(): ReloadRoom {
    const { host, events } = this.options
    const runtime = this
    return {
      host,
      store: this.store,
      gone: this.#base.gone,
      supervisors: this.supervisors,
      get isRunning() {
        return runtime.#booted && !runtime.draining
      },
      get isOver() {
        return runtime.draining
      },
      make: (spec, heard) => this.#make(spec, heard),
      specFor: spec => this.#specFor(spec),
      viewOf: entry => misconfiguredView(entry as MisconfiguredSpec, host.clock.wallTime()),
      adopt: (running, left, updated) => {
        this.#learnRare(running)
        this.#realms.adopt(working(running), left, updated)
      },
      resume: (left, lost) => {
        this.#base.resume(lost)
        this.#realms.resume(left, lost)
      },
      warn: events.warning,
    }
  }

  /**
   * Starts every upstream that is not lazy, side by side. Each has a turn of the event loop to itself, because a spawn
   * blocks it for milliseconds and the face must go on answering. Idempotent.
   */
  boot(): void {
    if (this.#booted) return
    this.#booted = true
    let turn = 0
    for (const supervisor of this.supervisors.values()) {
      if (!supervisor.spec.lazy && supervisor.spec.enabled) {
        this.#boots.push(this.options.host.clock.after(turn, () => supervisor.boot()))
        turn += 2
      }
    }
  }

  get snapshot(): Snapshot {
    return this.store.current
  }

  /** Calls without an answer yet. */
  get running(): number {
    return this.#crowd.size
  }

  knowsServer(name: string): boolean {
    return this.store.current.upstreams.has(name)
  }

  snapshotFor(caller: Caller): Snapshot {
    return this.#realms.of(caller).store.current
  }

  offer(scope: Scope, caller: Caller): Offer {
    const { upstreams } = this.snapshotFor(caller)
    return {
      serverInfo: this.options.info,
      capabilities: CAPABILITIES,
      // Made when they are read: each answer to a modern client wants the rest alone.
      get instructions() {
        const views = [...upstreams.values()].filter(view => scope.kind === 'all' || view.name === scope.name)
        return [instructionsFor(scope, views), troubleIn(views)].filter(text => text !== '').join('\n\n')
      },
    }
  }

  list(kind: Kind, scope: Scope, cursor: string | null, caller: Caller): Promise<ListPage> {
    return this.#realms.of(caller).list(kind, scope, cursor)
  }

  call(call: Call, reply: (outcome: Outcome) => void): RunningCall {
    const { principal } = call.context
    const refusal = this.#crowd.enter(principal)
    if (refusal) return refuseLater(refusal, reply)
    const realm = this.#realms.of(call.context)
    realm.uses += 1
    let over = false
    const end = () => {
      if (over) return
      over = true
      realm.uses -= 1
      this.#crowd.leave(principal)
      if (this.#crowd.size > 0) return
      for (const tell of this.#idle) tell()
    }
    const running = startCall(realm, call, outcome => {
      end()
      reply(outcome)
    })
    return {
      cancel: reason => {
        end()
        running.cancel(reason)
      },
    }
  }

  onListChanged(scope: Scope, listener: (kind: Kind) => void, caller: Caller): () => void {
    return this.#realms.listeners.watch(scope, listener, caller)
  }

  subscribe(scope: Scope, uri: string, caller: Caller, events: SubscriptionEvents): Subscription {
    return this.#realms.listeners.subscribe(scope, uri, caller, events)
  }

  endSession(session: object): void {
    this.#realms.endSession(session)
  }

  /** The credentials of that identity are others now. Resolves when nothing is left of what used the old ones. */
  forget(principal: string): Promise<void> {
    return this.#realms.forget(principal)
  }

  /** Null for a name that is not configured, and for an entry that cannot work as it is written. */
  actions(name: string): UpstreamActions | null {
    const base = this.supervisors.get(name)
    return base ? this.#realms.actionsFor(base) : null
  }

  /** How the instances do that single identities have of a server; null where all share one. */
  instances(name: string): InstanceFigures | null {
    return this.#realms.figures(name)
  }

  headerParams(scope: Scope, toolName: string, caller: Caller): readonly HeaderParam[] {
    const found = resolve(this.snapshotFor(caller), scope, { kind: 'tool', name: toolName })
    return found.kind === 'found' ? (found.entry?.component.headerParams ?? []) : []
  }

  /** A listed entry as clients see it. */
  render(entry: CatalogEntry): Bytes {
    return renderEntry(entry, this.supervisors.get(entry.upstream)?.spec.prefix ?? '')
  }

  /** Resolves when no call is running any more, or after `ms`. */
  drained(ms: number): Promise<void> {
    this.draining = true
    if (this.#crowd.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      const done = () => {
        this.#idle.delete(done)
        timer.cancel()
        resolve()
      }
      const timer = this.options.host.clock.after(ms, done)
      this.#idle.add(done)
    })
  }

  /**
   * Ends every upstream, in parallel; whoever still waits for an answer is given one at once. Resolves when no upstream
   * is left, with those that could not be ended properly.
   */
  async stop(): Promise<readonly StopFailure[]> {
    this.#refuseNew()
    // Most of many servers are gone in this turn: to tell of each would take longer than to end them.
    this.options.host.clock.after(0, this.store.hold())
    const stops = [...this.supervisors].map(([upstream, supervisor]) =>
      supervisor.stop().then(
        () => [],
        (cause: unknown) => [{ upstream, reason: messageOf(cause) }],
      ),
    )
    const [failures] = await Promise.all([Promise.all([...stops, this.#realms.stop()]), this.#reload.stop()])
    return failures.flat()
  }

  /** Ends every upstream at once; the outcome of what was under way is unknown. */
  kill(): void {
    this.#refuseNew()
    this.#reload.kill()
    this.#realms.kill()
    for (const supervisor of this.supervisors.values()) endAtOnce(supervisor)
  }

  #refuseNew(): void {
    this.draining = true
    this.#booted = true
    for (const timer of this.#boots) timer.cancel()
    this.#base.changes.stop()
  }
}

/** What is found out about a server (its era, its transport) is true for whoever connects with the same headers. */
function cellMaker(
  { connectors, credentials, host }: RuntimeOptions,
  around: Neighbourhood,
): RealmRoom['make'] {
  const known = new WeakMap<UpstreamSpec, Connector>()
  return (spec, ofSession, principal, store) => {
    const shared = known.get(spec) ?? connectors(spec)
    known.set(spec, shared)
    const own = withCredentials(spec, principal, shared, connectors, { ask: credentials, clock: host.clock })
    return new Supervisor(specOfCell(spec, ofSession), own, { ...around, store, owner: principal })
  }
}

/** One server under its own names speaks for itself. */
function instructionsFor(scope: Scope, views: readonly UpstreamView[]): string {
  return scope.kind === 'server' ? (views[0]?.instructions ?? '') : mergeInstructions(views)
}

/** What a model reads in the handshake about servers that are not there. */
function troubleIn(views: readonly UpstreamView[]): string {
  const down = views.filter(view => !isServing(view) && view.state !== 'disabled' && view.state !== 'idle')
  if (down.length === 0) return ''
  const lines = down.map(view => `- ${view.name}: ${view.reason ?? view.state}`)
  return `Not available at the moment:\n${lines.join('\n')}`
}

/** Without those that cannot work as written. */
function working(entries: readonly Entry[]): readonly UpstreamSpec[] {
  return entries.filter((entry): entry is UpstreamSpec => !('problem' in entry))
}
