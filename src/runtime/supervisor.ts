import { RetryBudget } from '../core/retry/index.js'
import {
  type BackoffPolicy,
  DEFAULT_BACKOFF,
  type SuperviseEvent,
  type SuperviseState,
} from '../core/supervise/index.js'
import {
  type CallContext,
  EMPTY_CATALOG,
  EMPTY_OBJECT,
  type GatewayError,
  type LastError,
  LIMITS,
  messageOf,
  type Outcome,
  type UpstreamSpec,
  type UpstreamView,
} from '../model/index.js'
import { Admission } from './admission.js'
import { type CatalogEvents, CatalogKeeper } from './catalog-keeper.js'
import { hung, part, stopping } from './endings.js'
import { asGatewayError, reasonOf } from './failures.js'
import { whileCurrent, wordsFor } from './handover.js'
import { findingOf, HealthWatch } from './health-watch.js'
import { IdleStop } from './idle-stop.js'
import { LeasePool } from './lease-pool.js'
import { Lifecycle } from './lifecycle.js'
import { inUse, type Neighbourhood } from './neighbourhood.js'
import type { Connection, ConnectionEvents, Connector, Host, UpstreamActions } from './ports.js'
import { ResourceBook } from './resource-book.js'
import { faultOf, viewOf } from './supervised-view.js'

/** Drives one upstream: feeds the machines, runs their effects, and tells the store what everybody may know. */
export class Supervisor implements UpstreamActions {
  readonly admission: Admission
  readonly budget = new RetryBudget()
  readonly watch: HealthWatch
  readonly catalog: CatalogKeeper
  resources: ResourceBook
  /** Who has its place now: what waits here goes on there. */
  successor: Supervisor | 'none' | null = null
  /** It has no place any more: what runs there may finish, and nothing begins again. */
  isLeaving = false
  /** Calls without an answer, whatever they wait for. */
  calls = 0
  /** Calls that wait for it to start. */
  waiting = 0
  #connection: Connection | null = null
  /** On its way out: the next start waits for it, and a second signal must still find it. */
  #closing: Connection | null = null
  #closed: Promise<void> = Promise.resolve()
  #opening: AbortController | null = null
  #openAttempt: Promise<void> = Promise.resolve()
  #lastError: LastError | null = null
  #since: number
  #settled = false
  /** Why something of it could not be ended. */
  #survivor: unknown = null
  readonly #life: Lifecycle
  readonly #idleStop: IdleStop
  readonly #host: Host
  readonly #leases: LeasePool
  readonly #pardon = (since: number) => void this.#feed({ kind: 'pardoned', since })

  constructor(
    readonly spec: UpstreamSpec,
    private readonly connector: Connector,
    private readonly around: Neighbourhood,
    policy: BackoffPolicy = DEFAULT_BACKOFF,
  ) {
    const { host, events } = around
    this.#host = host
    this.#since = host.clock.wallTime()
    this.admission = new Admission(spec.supervision.maxInFlight, host.clock)
    this.watch = new HealthWatch(spec, host, {
      changed: fresh => this.#turn(fresh),
      recovered: () => this.#recover(),
      unwell: error => this.#unwell(error),
      unauthorized: error => this.#lose(this.#life.machine.epoch, error),
    })
    const lists: CatalogEvents = {
      changed: () => this.#commit(),
      warning: message => events.warning(spec.name, message),
      refused: error => this.watch.heed(error),
      restMs: () => Math.max(0, this.watch.closedUntil - host.clock.now()),
      asleep: () => this.state === 'idle',
      readBytes: around.owner === undefined ? undefined : LIMITS.keptReadBytes,
    }
    this.catalog = new CatalogKeeper(spec, host, lists, around.owner === undefined)
    this.resources = new ResourceBook(spec.name, host.clock)
    this.#leases = new LeasePool(connector, host.clock, wordsFor(spec.name, events))
    this.#settled = !spec.enabled
    this.#life = new Lifecycle(
      host,
      { ...policy, budget: spec.supervision.restart },
      {
        open: epoch => {
          this.#openAttempt = this.#open(epoch)
        },
        close: () => this.#close(),
        welcome: () => this.#welcome(),
        changed: fresh => this.#turn(fresh),
        isLeaving: () => this.isLeaving,
      },
      spec.enabled,
    )
    this.#idleStop = new IdleStop(
      host.clock,
      () => spec.supervision.idleStopMs,
      () => this.#isWanted || this.admission.queued > 0 || this.#leases.size > 0,
      () => this.#feed({ kind: 'idled' }),
    )
  }

  /** The connection for a call, or null while there is none. */
  get connection(): Connection | null {
    return this.#connection
  }

  get state(): SuperviseState['kind'] {
    return this.#life.machine.state.kind
  }

  /** Somebody waits for it: a caller, or whoever is told about its resources. */
  get #isWanted(): boolean {
    return this.waiting > 0 || this.admission.inFlight > 0 || this.resources.size > 0
  }

  get inFlight(): number {
    return this.admission.inFlight
  }

  /** Wall-clock ms of its last answer; null before the first. */
  get lastOkAt(): number | null {
    return this.watch.lastOkWall
  }

  /** The connection that suits a caller; a promise where it has to be opened first. */
  connectionFor(base: Connection, context: CallContext): Connection | Promise<Connection> {
    return this.#leases.acquire(base, context)
  }

  /** Starts it, unless it is lazy. */
  boot(): void {
    if (!this.spec.lazy) this.#feed({ kind: 'boot' })
  }

  /** Somebody needs it now. @returns true when that began a try */
  demand(): boolean {
    return this.#feed({ kind: 'demanded' })
  }

  /**
   * A request ended, in whatever way.
   * @param base the shared connection at the time that it was sent
   * @param sentAt monotonic ms
   */
  record(outcome: Outcome, base: Connection, sentAt?: number): void {
    this.#idleStop.used()
    this.catalog.used()
    if ('error' in outcome && findingOf(outcome.error) === 'failed') this.#remember(outcome.error)
    this.watch.record(outcome, base, sentAt)
  }

  // ---- what a person may ask for --------------------------------------------------------------------------

  async restart(): Promise<void> {
    this.#feed({ kind: 'restarted' })
    await this.#closed
  }

  enable(): void {
    this.#feed({ kind: 'enabled' })
  }

  async disable(): Promise<void> {
    this.#feed({ kind: 'disabled' })
    await this.#closed
    await this.#openAttempt
  }

  refresh(): Promise<void> {
    return this.catalog.refresh()
  }

  approve(names: readonly string[] = []): void {
    this.catalog.approve(names)
  }

  /** Resolves when nothing of the upstream is left; rejects when something of it cannot be ended. */
  async stop(): Promise<void> {
    this.#end()
    await this.#closed
    await this.#openAttempt
    this.#feed({ kind: 'gone' })
    const survivor = this.#survivor
    this.#survivor = null
    if (survivor !== null) throw survivor
  }

  /** Ends it at once: no ladder, no farewell. */
  kill(): void {
    const connection = this.#connection ?? this.#closing
    this.#end()
    connection?.destroy(stopping(this.spec.name))
    this.#leases.destroy(stopping(this.spec.name))
  }

  #end(): void {
    this.#feed({ kind: 'stopped' })
    this.#idleStop.stop()
    this.catalog.stop()
    this.around.suspicion.forget(this.spec.name, this.#pardon)
  }

  /** It starts when that is over; whoever needs it waits. */
  after(gone: Promise<void>): void {
    this.#closed = gone
  }

  /** Options in its spec are others now; what it is has not changed. */
  retune(options: ReadonlySet<string>): void {
    const { supervision, enabled, lazy } = this.spec
    this.admission.resize(supervision.maxInFlight)
    this.#life.policy = { ...this.#life.policy, budget: supervision.restart }
    this.watch.retune()
    if (this.#connection) this.#idleStop.start()
    this.catalog.retune(options)
    if (options.has('enabled')) this.#feed(enabled ? { kind: 'enabled', lazily: lazy } : { kind: 'disabled' })
    else if (options.has('lazy')) this.boot()
    this.#commit()
  }

  // ---- the lifecycle --------------------------------------------------------------------------------------

  #feed(event: SuperviseEvent): boolean {
    return this.#life.feed(event)
  }

  /** Something that people see changed. */
  #turn(fresh = true): void {
    if (fresh) this.#since = this.#host.clock.wallTime()
    this.#commit()
  }

  async #open(epoch: number): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    const closed = this.#closed
    try {
      // A later turn: the state `starting` is committed before the first effect is seen.
      await closed
      if (opening.signal.aborted) return
      const connection = await this.connector.open(this.#listen(epoch), opening.signal, EMPTY_OBJECT)
      if (opening.signal.aborted) {
        await connection.close()
        return
      }
      this.#connection = connection
      this.#feed({ kind: 'opened', epoch })
    } catch (thrown) {
      if (opening.signal.aborted) return
      const error = asGatewayError(thrown, this.spec.name)
      this.#remember(error)
      this.#blame('open-failed', epoch, error, this.spec.transport.kind === 'stdio')
      // Trying on would keep a remote awake that nobody needs.
      if (this.spec.supervision.wake && !this.#isWanted) this.#feed({ kind: 'idled' })
      this.#settle()
    }
  }

  #welcome(): void {
    const connection = this.#connection
    if (!connection) return
    this.around.suspicion.recovered(this.spec.name)
    this.watch.connected(connection)
    this.catalog.connected(connection, () => this.#settle())
    this.resources.connected(connection)
    this.#idleStop.start()
  }

  #close(): void {
    this.#opening?.abort()
    const connection = this.#connection
    this.#connection = null
    this.#closing = connection
    this.#parted()
    const leases = this.#leases.close()
    this.#closed = Promise.allSettled([this.#closed, connection?.close(), leases]).then(([, ended]) => {
      if (this.#closing === connection) this.#closing = null
      if (ended.status === 'rejected') this.#notEnded(ended.reason)
    })
  }

  #notEnded(cause: unknown): void {
    this.#survivor = cause
    this.around.events.warning(this.spec.name, `could not be ended: ${messageOf(cause)}`)
  }

  /** Whatever hung on the connection that is no more. */
  #parted(): void {
    this.#idleStop.stop()
    this.watch.disconnected()
    this.catalog.disconnected()
    this.resources.disconnected()
  }

  #listen(epoch: number): ConnectionEvents {
    return whileCurrent(() => epoch === this.#life.machine.epoch, this.spec.name, this.around.events, {
      closed: error => this.#lose(epoch, error),
      notification: (method, params) => {
        this.catalog.notified(method)
        this.resources.notified(method, params)
      },
    })
  }

  #lose(epoch: number, error: GatewayError): void {
    if (this.#life.machine.state.kind !== 'ready' || epoch !== this.#life.machine.epoch) return
    const connection = this.#connection
    this.#connection = null
    this.#parted()
    this.#leases.destroy(error)
    if (connection)
      this.#closed = Promise.all([this.#closed, part(connection, this.#host.clock, error)]).then(
        () => undefined,
      )
    this.#remember(error)
    if (this.spec.lazy && error.details.quiet && !this.#isWanted) {
      this.#feed({ kind: 'idled' })
      return
    }
    // A session that a server forgot is no failure of its own; it becomes one when it happens again at once.
    const counts = error.details.sessionLost !== true || this.#life.machine.failures > 0
    this.#blame('closed', epoch, error, counts)
    this.#settle()
  }

  #blame(kind: 'open-failed' | 'closed', epoch: number, error: GatewayError, counts: boolean): void {
    const { suspicion } = this.around
    const now = this.#host.clock.now()
    suspicion.failed(this.spec.name, now, this.#pardon)
    const ours = suspicion.isOurs(now, inUse(this.around))
    this.#feed({ kind, epoch, fault: faultOf(error, counts, ours) })
    if (ours) suspicion.pardon(now)
  }

  /** A hung program, or a stream that may be dead, is ended and started anew; other remotes are left to their breaker. */
  #unwell(error: GatewayError): void {
    const transport = this.#connection?.transport
    if ((transport !== 'stdio' && transport !== 'sse') || this.admission.inFlight > 0) return
    const { failures } = this.spec.supervision.health
    const what = transport === 'stdio' ? `hung: ${failures} health checks in a row failed` : 'silent'
    this.#lose(this.#life.machine.epoch, hung(error, what))
  }

  #recover(): void {
    this.admission.ramp()
    this.around.suspicion.recovered(this.spec.name)
    void this.catalog.refresh()
    this.#turn()
  }

  #remember(error: GatewayError): void {
    this.#lastError = { kind: error.kind, message: reasonOf(error), at: this.#host.clock.wallTime() }
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    this.#commit()
  }

  #commit(): void {
    this.around.store.commitView(this.view())
  }

  view(): UpstreamView {
    const { clock } = this.#host
    return viewOf({
      isOwn: this.around.owner !== undefined,
      spec: this.spec,
      machine: this.#life.machine,
      breaker: this.watch.breaker,
      unwell: this.watch.isUnwell,
      slow: this.watch.isSlow,
      trouble: this.watch.reason,
      connection: this.#connection,
      previous: this.around.store.viewOf(this.spec.name),
      since: this.#since,
      lastError: this.#lastError,
      nextAttemptDue: this.#life.nextAttemptDue ?? this.watch.nextTrialDue,
      wallAhead: clock.wallTime() - clock.now(),
      settled: this.#settled,
      catalog: this.catalog?.current ?? EMPTY_CATALOG,
      findings: this.catalog?.findings,
    })
  }
}
