import { mergeInstructions } from '../core/catalog/index.js'
import { isServing, Suspicion } from '../core/health/index.js'
import { resolve } from '../core/route/index.js'
import {
  type Bytes,
  type Call,
  type CatalogEntry,
  EMPTY_CATALOG,
  type HeaderParam,
  type Kind,
  LIMITS,
  type MisconfiguredSpec,
  type Outcome,
  type Scope,
  type Snapshot,
  type UpstreamSpec,
  type UpstreamView,
} from '../model/index.js'
import { type CallRoom, refuseLater, startCall } from './calls/index.js'
import { ChangeWatch } from './change-watch.js'
import { Crowd } from './crowd.js'
import { Listing } from './listing.js'
import type {
  ConnectorFactory,
  GatewayCore,
  Host,
  ListPage,
  Offer,
  RunningCall,
  Subscription,
  SubscriptionEvents,
  Timer,
} from './ports.js'
import { renderEntry } from './rewrite.js'
import { Store } from './store.js'
import { Subscriptions } from './subscriptions.js'
import { Supervisor, type SupervisorEvents } from './supervisor.js'

export interface RuntimeOptions {
  readonly host: Host
  readonly connectors: ConnectorFactory
  /** In config order. */
  readonly upstreams: readonly (UpstreamSpec | MisconfiguredSpec)[]
  readonly info: { readonly name: string; readonly title: string; readonly version: string }
  readonly events: SupervisorEvents
}

/** An upstream of which something may be left. */
export interface StopFailure {
  readonly upstream: string
  readonly reason: string
}

/** The running gateway without any face: upstreams, store, calls and lists. */
export class Runtime implements GatewayCore {
  readonly store = new Store()
  readonly supervisors = new Map<string, Supervisor>()
  draining = false
  #booted = false
  readonly #boots: Timer[] = []
  readonly #listing: Listing
  readonly #changes: ChangeWatch
  readonly #subscriptions: Subscriptions
  readonly #room: CallRoom
  readonly #crowd = new Crowd()
  readonly #idle = new Set<() => void>()

  constructor(private readonly options: RuntimeOptions) {
    const { host, connectors, upstreams, events } = options
    this.#room = { host, store: this.store, supervisor: name => this.supervisors.get(name) }
    this.#subscriptions = new Subscriptions(this.#room)
    const around = { host, store: this.store, events, suspicion: new Suspicion() }
    const views = new Map<string, UpstreamView>()
    for (const spec of upstreams) {
      if ('problem' in spec) {
        views.set(spec.name, misconfiguredView(spec, host.clock.wallTime()))
        continue
      }
      const supervisor = new Supervisor(spec, connectors(spec), around)
      this.supervisors.set(spec.name, supervisor)
      views.set(spec.name, supervisor.view())
    }
    this.store.commitViews(views)
    this.#changes = new ChangeWatch(this.store, host.clock)
    this.#listing = new Listing({
      clock: host.clock,
      random: host.random,
      store: this.store,
      supervisors: this.supervisors,
      firstListUntil: host.clock.now() + LIMITS.firstListMs,
    })
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

  offer(scope: Scope): Offer {
    const views = [...this.store.current.upstreams.values()].filter(
      view => scope.kind === 'all' || view.name === scope.name,
    )
    return {
      serverInfo: this.options.info,
      capabilities: {
        tools: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        prompts: { listChanged: true },
        completions: {},
        logging: {},
      },
      instructions: [instructionsFor(scope, views), troubleIn(views)]
        .filter(text => text !== '')
        .join('\n\n'),
    }
  }

  list(kind: Kind, scope: Scope, cursor: string | null): Promise<ListPage> {
    return this.#listing.page(kind, scope, cursor)
  }

  call(call: Call, reply: (outcome: Outcome) => void): RunningCall {
    const { principal } = call.context
    const refusal = this.#crowd.enter(principal)
    if (refusal) return refuseLater(refusal, reply)
    let over = false
    const end = () => {
      if (over) return
      over = true
      this.#crowd.leave(principal)
      if (this.#crowd.size > 0) return
      for (const tell of this.#idle) tell()
    }
    const running = startCall(this.#room, call, outcome => {
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

  onListChanged(scope: Scope, listener: (kind: Kind) => void): () => void {
    return this.#changes.watch(scope, listener)
  }

  subscribe(scope: Scope, uri: string, events: SubscriptionEvents): Subscription {
    return this.#subscriptions.subscribe(scope, uri, events)
  }

  headerParams(scope: Scope, toolName: string): readonly HeaderParam[] {
    const found = resolve(this.store.current, scope, { kind: 'tool', name: toolName })
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
    const stops = [...this.supervisors].map(([upstream, supervisor]) =>
      supervisor.stop().then(
        () => [],
        (cause: unknown) => [{ upstream, reason: cause instanceof Error ? cause.message : String(cause) }],
      ),
    )
    return (await Promise.all(stops)).flat()
  }

  /** Ends every upstream at once; the outcome of what was under way is unknown. */
  kill(): void {
    this.#refuseNew()
    for (const supervisor of this.supervisors.values()) {
      // The polite end says to each caller what is so; the hard one then leaves it no time.
      supervisor.connection?.close().catch(() => undefined)
      supervisor.kill()
    }
  }

  #refuseNew(): void {
    this.draining = true
    this.#booted = true
    for (const timer of this.#boots) timer.cancel()
    this.#changes.stop()
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

function misconfiguredView(spec: MisconfiguredSpec, now: number): UpstreamView {
  return {
    name: spec.name,
    prefix: spec.prefix,
    transport: 'unknown',
    state: 'misconfigured',
    breaker: 'closed',
    health: 'unhealthy',
    since: now,
    reason: spec.problem,
    lastError: { kind: 'misconfigured', message: spec.problem, at: now },
    nextAttemptAt: null,
    nextAttemptDue: null,
    attempts: 0,
    restarts: 0,
    pid: null,
    protocolVersion: null,
    serverInfo: null,
    instructions: null,
    settled: true,
    unavailable: 'keep',
    catalog: EMPTY_CATALOG,
  }
}
