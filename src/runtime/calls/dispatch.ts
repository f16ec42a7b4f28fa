import { isServing } from '../../core/health/index.js'
import { decideRetry, type Safety } from '../../core/retry/index.js'
import type { Target } from '../../core/route/index.js'
import { type Call, type CatalogEntry, GatewayError, LIMITS, type Outcome } from '../../model/index.js'
import { busy, removed, throttled, unavailable } from '../failures.js'
import type { Clock, Connection, Host, RunningCall, Timer } from '../ports.js'
import type { Store } from '../store.js'
import type { Supervisor } from '../supervisor.js'
import { startAttempt } from './attempt.js'
import { kindsDenied, withFreshList } from './denial.js'
import { safetyFor } from './safety.js'
import { nativeParams } from './target.js'

export interface DispatchRequest {
  readonly call: Call
  readonly target: Target
  /** The server's own name for it. */
  readonly native: string
  readonly entry: CatalogEntry | null
}

export interface DispatchRoom {
  readonly host: Pick<Host, 'clock' | 'random'>
  readonly store: Store
}

/** One request on its way to its one server: waits for a start, the breaker and a place, tries, and tries again where that is safe. */
export class Dispatch implements RunningCall {
  #over = false
  #attempt: RunningCall | null = null
  #stopWaiting: (() => void) | null = null
  #entered = false
  #retrying = false
  #woke = false
  #attempts = 0
  #cures = 0
  #repeats = 0
  #firstError: GatewayError | null = null
  readonly #totalMs: number
  readonly #deadline: number
  readonly #clock: Clock

  constructor(
    private readonly room: DispatchRoom,
    private supervisor: Supervisor,
    private readonly request: DispatchRequest,
    private readonly done: (outcome: Outcome) => void,
  ) {
    this.#clock = room.host.clock
    const { total } = supervisor.spec.timeouts
    this.#totalMs = Math.min(total, request.call.timeoutMs ?? total)
    this.#deadline = this.#clock.now() + this.#totalMs
  }

  start(): this {
    this.supervisor.calls += 1
    this.#seek()
    return this
  }

  cancel(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.supervisor.calls -= 1
    this.#stopWaiting?.()
    this.#endRetry()
    if (!this.#attempt) return
    this.#attempt.cancel(reason)
    this.#leaveAfterGrace()
  }

  #finish(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.supervisor.calls -= 1
    this.#endRetry()
    this.done(this.#honest(outcome))
  }

  /** A try that may have run is not undone by a later one that did not. */
  #honest(outcome: Outcome): Outcome {
    if (this.#repeats === 0 || !('error' in outcome) || outcome.kind === 'unknown') return outcome
    if (this.#safety() === 'harmless') return outcome
    const { upstream = '', reason = '' } = outcome.error.details
    const message = `${upstream}: ${reason}. An earlier try may have run; check before repeating it.`
    const error = new GatewayError('OUTCOME_UNKNOWN', message, { ...outcome.error.details, phase: 'unknown' })
    return { kind: 'unknown', error }
  }

  /** A later turn: the caller may still be inside `start`. */
  #refuse(error: GatewayError): void {
    queueMicrotask(() => this.#finish({ kind: 'never-sent', error: this.#withHistory(error) }))
  }

  /** What an earlier try found is told too: both are causes. */
  #withHistory(error: GatewayError): GatewayError {
    const first = this.#firstError
    return first && first.details.reason !== error.details.reason ? error.after(first) : error
  }

  // ---- before the attempt ---------------------------------------------------------------------------------

  /** A connection, or the start that will bring one. */
  #seek(): void {
    const { successor } = this.supervisor
    if (successor) return this.#moveTo(successor)
    const { connection } = this.supervisor
    if (connection) return this.#pass(connection)
    if (this.supervisor.demand()) this.#woke = true
    this.#waitForStart()
  }

  /** Nothing of it is under way, so it goes on where its server is now. */
  #moveTo(successor: Supervisor | 'none'): void {
    if (successor === 'none') return this.#refuse(removed(this.supervisor.spec.name))
    this.#endRetry()
    this.supervisor.calls -= 1
    this.supervisor = successor
    successor.calls += 1
    this.#seek()
  }

  #waitForStart(): void {
    const { supervisor } = this
    if (supervisor.waiting >= LIMITS.waitersPerUpstream) {
      return this.#refuse(busy(supervisor.spec.name, 'too many calls wait for its start', 0))
    }
    const stdio = supervisor.spec.transport.kind === 'stdio' || supervisor.spec.supervision.wake
    const hold = stdio ? LIMITS.holdStdioMs : LIMITS.holdHttpMs
    const until = Math.min(this.#deadline, this.#clock.now() + hold)
    supervisor.waiting += 1
    const look = () => {
      const { connection, successor } = supervisor
      if (successor) return stop(() => this.#seek())
      if (connection) return stop(() => this.#pass(connection))
      if (this.#clock.now() < until && this.#isComing()) return
      stop(() => this.#refuse(unavailable(supervisor.view(), this.#clock.now())))
    }
    const leave = this.room.store.onCommit(look)
    const timer = this.#clock.after(until - this.#clock.now(), look)
    const stop = (then: () => void) => {
      if (this.#stopWaiting !== end) return
      end()
      then()
    }
    const end = () => {
      leave()
      timer.cancel()
      supervisor.waiting -= 1
      this.#stopWaiting = null
    }
    this.#stopWaiting = end
    look()
  }

  /** Worth a wait: a first start, the restart after a death, a try that this call began, a remote that wakes up. */
  #isComing(): boolean {
    const view = this.supervisor.view()
    const { wake } = this.supervisor.spec.supervision
    if (view.state === 'starting') return view.attempts <= 1 || this.#woke || wake
    return wake && view.state === 'backoff'
  }

  /** The breaker, and what the server asked for. */
  #pass(connection: Connection): void {
    const { watch, spec } = this.supervisor
    if (watch.breaker.kind !== 'closed') return this.#tryBreaker()
    const left = watch.closedUntil - this.#clock.now()
    if (left <= 0) return this.#enter(connection)
    if (left > LIMITS.queueMs || left >= this.#deadline - this.#clock.now()) {
      return this.#refuse(throttled(spec.name, left))
    }
    this.#pause(left)
  }

  /** The one who begins the trial waits for it; the others are told the cause at once. */
  #tryBreaker(): void {
    const trial = this.supervisor.watch.demand()
    if (!trial) return this.#refuse(unavailable(this.supervisor.view(), this.#clock.now()))
    void trial.then(() => {
      if (this.#over) return
      const { successor, watch } = this.supervisor
      if (successor || watch.breaker.kind === 'closed') this.#seek()
      else this.#refuse(unavailable(this.supervisor.view(), this.#clock.now()))
    })
  }

  #enter(connection: Connection): void {
    const { admission, spec } = this.supervisor
    if (admission.tryEnter()) {
      this.#entered = true
      return this.#choose(connection)
    }
    const full = () => busy(spec.name, `${admission.inFlight} requests are under way there`, admission.queued)
    const stop = admission.wait(
      this.request.call.context.principal,
      Math.min(LIMITS.queueMs, this.#deadline - this.#clock.now()),
      () => {
        this.#stopWaiting = null
        this.#entered = true
        this.#recheck()
      },
      () => {
        this.#stopWaiting = null
        if (this.supervisor.successor) this.#seek()
        else this.#refuse(full())
      },
    )
    this.#stopWaiting = stop
    if (!stop) this.#refuse(full())
  }

  /** The world may have changed while it waited for its place. */
  #recheck(): void {
    const { connection, watch } = this.supervisor
    if (connection && isServing({ state: 'ready', breaker: watch.breaker.kind }))
      return this.#choose(connection)
    this.#leave()
    this.#seek()
  }

  #choose(base: Connection): void {
    const suited = this.supervisor.connectionFor(base, this.request.call.context)
    if (!(suited instanceof Promise)) return this.#send(suited, base)
    void suited.then(connection => {
      if (this.#over) this.#leave()
      else this.#send(connection, base)
    })
  }

  // ---- the attempt ----------------------------------------------------------------------------------------

  #send(connection: Connection, base: Connection): void {
    const { call, target, native, entry } = this.request
    const { name, timeouts } = this.supervisor.spec
    const sentAt = this.#clock.now()
    this.#attempts += 1
    this.#attempt = startAttempt(
      this.#clock,
      {
        call,
        upstream: name,
        connection,
        timeouts,
        totalMs: this.#totalMs,
        leftMs: this.#deadline - sentAt,
        replace: nativeParams(call, target, native),
        headerParams: entry?.component.headerParams,
      },
      (outcome, streamed) => this.#ended(outcome, streamed, base, sentAt),
    )
  }

  #ended(outcome: Outcome, streamed: boolean, base: Connection, sentAt: number): void {
    this.#attempt = null
    this.supervisor.record(outcome, base, sentAt)
    if (outcome.kind === 'answered' || outcome.kind === 'cancelled') {
      this.#leave()
      return this.#finish(this.#doubt(outcome))
    }
    if (outcome.error.code === 'CALL_TIMEOUT') this.#leaveAfterGrace()
    else this.#leave()
    this.#failed(outcome, streamed)
  }

  /** What we list and its server denies is asked for anew. */
  #doubt(outcome: Outcome): Outcome {
    const kinds = kindsDenied(this.request.target, outcome)
    return kinds.length > 0 && this.supervisor.catalog.suspect(kinds) ? withFreshList(outcome) : outcome
  }

  #failed(outcome: Extract<Outcome, { error: GatewayError }>, streamed: boolean): void {
    const { error } = outcome
    const { random } = this.room.host
    this.#endRetry()
    const decision = decideRetry(
      {
        phase: outcome.kind,
        safety: this.#safety(),
        cure: cureOf(error),
        transient: isTransient(error),
        attempts: this.#attempts,
        cures: this.#cures,
        repeats: this.#repeats,
        streamed,
        retryAfterMs: error.details.retryAfterMs ?? null,
        leftMs: this.#deadline - this.#clock.now(),
      },
      random.next(),
    )
    if (decision.kind === 'give-up' || !this.#mayRetry(error)) {
      return this.#finish({ kind: outcome.kind, error: this.#counted(error) })
    }
    this.#firstError ??= error
    if (outcome.kind === 'rejected') this.#cures += 1
    if (outcome.kind === 'unknown') this.#repeats += 1
    this.#pause(decision.afterMs)
  }

  /** A lost session is cured for all who had it, whatever else is tried again. */
  #mayRetry(error: GatewayError): boolean {
    if (error.details.sessionLost) return true
    this.#retrying = this.supervisor.budget.take(this.supervisor.admission.inFlight)
    return this.#retrying
  }

  #safety(): Safety {
    return safetyFor(this.request, this.supervisor.spec)
  }

  #counted(error: GatewayError): GatewayError {
    return this.#attempts > 1 ? this.#withHistory(error.with({ attempts: this.#attempts })) : error
  }

  #pause(ms: number): void {
    const timer: Timer = this.#clock.after(ms, () => {
      this.#stopWaiting = null
      this.#seek()
    })
    this.#stopWaiting = () => timer.cancel()
  }

  #endRetry(): void {
    if (this.#retrying) this.supervisor.budget.give()
    this.#retrying = false
  }

  #leave(): void {
    if (!this.#entered) return
    this.#entered = false
    this.supervisor.admission.leave()
  }

  /** The server may still be busy with it, whatever it was told. */
  #leaveAfterGrace(): void {
    if (!this.#entered) return
    this.#entered = false
    const { admission } = this.supervisor
    this.#clock.after(LIMITS.cancelGraceMs, () => admission.leave())
  }
}

function cureOf(error: GatewayError): 'none' | 'new-session' | 'later' {
  if (error.details.sessionLost) return 'new-session'
  return error.code === 'OVERLOADED' && error.details.retryAfterMs !== undefined ? 'later' : 'none'
}

/** What a second try can hardly change. */
function isTransient(error: GatewayError): boolean {
  return (
    error.code !== 'MISCONFIGURED' && error.code !== 'SIGN_IN_REQUIRED' && error.code !== 'UPSTREAM_REMOVED'
  )
}
