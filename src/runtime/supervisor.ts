import {
  type BackoffPolicy,
  DEFAULT_BACKOFF,
  type Fault,
  INITIAL,
  type Supervised,
  type SuperviseEffect,
  type SuperviseEvent,
  type SuperviseState,
  step,
} from '../core/supervise/index.js'
import {
  type Bytes,
  type CallContext,
  EMPTY_CATALOG,
  GatewayError,
  type LastError,
  type UpstreamSpec,
  type UpstreamView,
} from '../model/index.js'
import { CatalogKeeper } from './catalog-keeper.js'
import { asGatewayError, reasonOf } from './failures.js'
import { LeasePool } from './lease-pool.js'
import type { Connection, ConnectionEvents, Connector, Host, Timer } from './ports.js'
import type { Store } from './store.js'

const NO_CAPABILITIES: Bytes = Buffer.from('{}')
const RETIRE_POLL_MS = 1_000

export interface SupervisorEvents {
  stderr(upstream: string, line: string): void
  warning(upstream: string, message: string): void
}

/** Drives one upstream: feeds the machine, runs its effects, and tells the store what everybody may know. */
export class Supervisor {
  #machine: Supervised = INITIAL
  #connection: Connection | null = null
  /** On its way out: a second signal must still find it. */
  #closing: Connection | null = null
  /** Lost for new calls, with calls still under way. */
  readonly #retired = new Set<Connection>()
  #timer: Timer | null = null
  #opening: AbortController | null = null
  #lastError: LastError | null = null
  #nextAttemptAt: number | null = null
  #since: number
  #settled = false
  readonly #catalog: CatalogKeeper
  readonly #leases: LeasePool

  constructor(
    readonly spec: UpstreamSpec,
    private readonly connector: Connector,
    private readonly host: Host,
    private readonly store: Store,
    private readonly events: SupervisorEvents,
    private readonly policy: BackoffPolicy = DEFAULT_BACKOFF,
  ) {
    this.#since = host.clock.wallTime()
    this.#catalog = new CatalogKeeper(spec, host.clock, {
      changed: () => this.#commit(),
      warning: message => events.warning(spec.name, message),
    })
    this.#leases = new LeasePool(connector, host.clock, {
      violation: what => events.warning(spec.name, what),
      stderr: line => events.stderr(spec.name, line),
    })
    if (!spec.enabled) this.#machine = { ...INITIAL, state: { kind: 'disabled' } }
    this.#settled = !spec.enabled
  }

  /** The connection for a call, or null while there is none. */
  get connection(): Connection | null {
    return this.#connection
  }

  get state(): SuperviseState['kind'] {
    return this.#machine.state.kind
  }

  get inFlight(): number {
    return this.#connection?.inFlight ?? 0
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
    const { epoch } = this.#machine
    this.#feed({ kind: 'demanded' })
    return this.#machine.epoch !== epoch
  }

  /** A call could not even reach the server: nothing new is sent there. What is under way may still be answered. */
  reportUnreachable(connection: Connection, error: GatewayError): void {
    if (connection !== this.#connection) return
    this.#retired.add(connection)
    this.#lose(this.#machine.epoch, error)
    this.#retire(connection, error)
  }

  #retire(connection: Connection, error: GatewayError): void {
    if (connection.inFlight > 0 && this.#retired.has(connection)) {
      this.host.clock.after(RETIRE_POLL_MS, () => this.#retire(connection, error))
      return
    }
    this.#retired.delete(connection)
    connection.destroy(error)
  }

  #dismissRetired(error: GatewayError): void {
    for (const connection of this.#retired) connection.destroy(error)
    this.#retired.clear()
  }

  /** Resolves when nothing of the upstream is left. */
  async stop(): Promise<void> {
    const connection = this.#connection
    this.#closing = connection
    this.#feed({ kind: 'stopped' })
    this.#catalog.stop()
    this.#dismissRetired(stopping(this.spec.name))
    await Promise.all([connection?.close(), this.#leases.close()])
    await this.#openAttempt
  }

  /** Ends it at once: no ladder, no farewell. */
  kill(): void {
    const connection = this.#connection ?? this.#closing
    this.#feed({ kind: 'stopped' })
    this.#catalog.stop()
    connection?.destroy(stopping(this.spec.name))
    this.#dismissRetired(stopping(this.spec.name))
    this.#leases.destroy(stopping(this.spec.name))
  }

  #openAttempt: Promise<void> = Promise.resolve()

  #feed(event: SuperviseEvent): void {
    const before = this.#machine
    const { next, effects } = step(before, event, this.host.clock.now(), this.host.random.next(), this.policy)
    this.#machine = next
    for (const effect of effects) this.#run(effect)
    if (next.state.kind !== before.state.kind || next.state !== before.state) {
      if (next.state.kind !== before.state.kind) this.#since = this.host.clock.wallTime()
      this.#commit()
    }
  }

  #run(effect: SuperviseEffect): void {
    switch (effect.kind) {
      case 'open':
        this.#openAttempt = this.#open(effect.epoch)
        return
      case 'arm-timer':
        this.#timer?.cancel()
        this.#nextAttemptAt = this.host.clock.wallTime() + effect.delayMs
        this.#timer = this.host.clock.after(effect.delayMs, () =>
          this.#feed({ kind: 'timer-fired', epoch: effect.epoch }),
        )
        return
      case 'disarm-timer':
        this.#timer?.cancel()
        this.#timer = null
        this.#nextAttemptAt = null
        return
      case 'fetch-lists':
        if (this.#connection) this.#catalog.connected(this.#connection, () => this.#settle())
        return
      case 'close':
        this.#opening?.abort()
        this.#connection = null
        return
    }
  }

  async #open(epoch: number): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    try {
      // A later turn: the state `starting` is committed before the first effect is seen.
      await Promise.resolve()
      const connection = await this.connector.open(this.#listen(epoch), opening.signal, NO_CAPABILITIES)
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
      this.#feed({ kind: 'open-failed', epoch, fault: faultOf(error) })
      this.#settle()
    }
  }

  #listen(epoch: number): ConnectionEvents {
    const current = () => epoch === this.#machine.epoch
    return {
      closed: error => {
        if (current()) this.#lose(epoch, error)
      },
      notification: method => {
        if (current()) this.#catalog.notified(method)
      },
      violation: what => this.events.warning(this.spec.name, what),
      stderr: line => this.events.stderr(this.spec.name, line),
    }
  }

  #lose(epoch: number, error: GatewayError): void {
    this.#connection = null
    this.#leases.destroy(error)
    this.#catalog.disconnected()
    this.#remember(error)
    this.#feed({ kind: 'closed', epoch, fault: faultOf(error) })
    this.#settle()
  }

  #remember(error: GatewayError): void {
    this.#lastError = { kind: error.kind, message: reasonOf(error), at: this.host.clock.wallTime() }
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    this.#commit()
  }

  #commit(): void {
    this.store.commitView(this.view())
  }

  view(): UpstreamView {
    const { state, failures, restarts, lastFault } = this.#machine
    const connection = this.#connection
    return {
      name: this.spec.name,
      prefix: this.spec.prefix,
      transport: connection?.transport ?? configuredTransport(this.spec),
      state: state.kind,
      since: this.#since,
      reason: reasonFor(state, lastFault),
      lastError: this.#lastError,
      nextAttemptAt: this.#nextAttemptAt,
      attempts: failures,
      restarts,
      pid: connection?.pid ?? null,
      protocolVersion: connection?.protocolVersion ?? this.#previous()?.protocolVersion ?? null,
      serverInfo: connection?.serverInfo ?? this.#previous()?.serverInfo ?? null,
      instructions: connection?.instructions ?? this.#previous()?.instructions ?? null,
      settled: this.#settled || (this.spec.lazy && state.kind === 'idle'),
      unavailable: this.spec.unavailable,
      catalog: this.#catalog?.current ?? EMPTY_CATALOG,
    }
  }

  /** What was learned in an earlier handshake stays true until the next one says otherwise. */
  #previous(): UpstreamView | undefined {
    return this.store.current.upstreams.get(this.spec.name)
  }
}

function reasonFor(state: SuperviseState, lastFault: Fault | null): string | null {
  switch (state.kind) {
    case 'ready':
      return null
    case 'backoff':
    case 'misconfigured':
    case 'auth_required':
      return state.fault.reason
    case 'starting':
      return lastFault ? `starting again after: ${lastFault.reason}` : 'still starting'
    case 'idle':
      return 'not started yet: it is lazy and nobody has used it'
    case 'disabled':
      return 'disabled in the configuration'
    case 'stopped':
      return 'the gateway is stopping'
  }
}

function stopping(upstream: string): GatewayError {
  const reason = 'the gateway is stopping'
  return new GatewayError('UPSTREAM_REMOVED', `${upstream}: ${reason}.`, {
    upstream,
    reason,
    phase: 'unknown',
  })
}

function faultOf(error: GatewayError): Fault {
  const reason = reasonOf(error)
  if (error.kind === 'misconfigured' || error.kind === 'auth_required') return { class: error.kind, reason }
  return { class: 'outage', reason }
}

function configuredTransport(spec: UpstreamSpec): UpstreamView['transport'] {
  if (spec.transport.kind === 'auto') return 'http'
  return spec.transport.kind
}
