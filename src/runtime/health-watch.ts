import {
  type Breaker,
  type BreakerEvent,
  type BreakerPolicy,
  CLOSED,
  DEFAULT_BREAKER,
  FailureWindow,
  isProbeDue,
  isUnwell,
  NO_PROBES,
  nextProbeIn,
  type ProbePolicy,
  type Probes,
  probeFailed,
  probeSucceeded,
  stepBreaker,
} from '../core/health/index.js'
import { type GatewayError, LIMITS, type Outcome, type UpstreamSpec } from '../model/index.js'
import { reasonOf } from './failures.js'
import type { Clock, Connection, Host, Timer } from './ports.js'
import { askAlive, askForList, LATE_LIMIT_MS, type Question } from './probe.js'

/** What a failed or refused request says about its server. */
export type Finding = 'alive' | 'failed' | 'unauthorized' | 'nothing'

export interface WatchEvents {
  /**
   * Breaker or verdict changed.
   * @param fresh well became unwell, or the other way round
   */
  changed(fresh: boolean): void
  /** It came back after an outage. */
  recovered(): void
  /** Too many checks in a row were not answered. */
  unwell(error: GatewayError): void
  unauthorized(error: GatewayError): void
}

const SOON_MS = 1_000
const TRIAL_MS = 5_000
/** A check that fires this late was held up by ourselves: its result says nothing. */
const LATE_MS = 1_000

/** How one server does while it is connected: every outcome of a call, health checks when it is quiet, the breaker. */
export class HealthWatch {
  #breaker: Breaker = CLOSED
  #probes: Probes = NO_PROBES
  readonly #window = new FailureWindow()
  #policy: ProbePolicy
  readonly #clock: Clock
  #connection: Connection | null = null
  #timer: Timer | null = null
  #dueAt = 0
  /** How long a check is waited for: longer once it was seen to answer late. */
  #patienceMs: number
  #trialTimer: Timer | null = null
  #trial: Promise<boolean> | null = null
  #insistedAt = Number.NEGATIVE_INFINITY
  /** Monotonic ms of its last return: what was sent before and fails says nothing of it now. */
  #backAt = Number.NEGATIVE_INFINITY
  /** Monotonic ms of the last answer; -Infinity before the first. */
  lastOkAt = Number.NEGATIVE_INFINITY
  /** Monotonic ms until which the server asked to be left alone. */
  closedUntil = 0

  constructor(
    private readonly spec: UpstreamSpec,
    private readonly host: Host,
    private readonly events: WatchEvents,
    private readonly breakerPolicy: BreakerPolicy = DEFAULT_BREAKER,
  ) {
    this.#clock = host.clock
    this.#policy = { ...spec.supervision.health, soonMs: SOON_MS }
    this.#patienceMs = this.#policy.timeoutMs
  }

  /** The options of its server are others now; a check that is planned comes when the new ones say. */
  retune(): void {
    this.#policy = { ...this.spec.supervision.health, soonMs: SOON_MS }
    this.#patienceMs = this.#policy.timeoutMs
    if (this.#connection) this.#schedule()
  }

  /** The same in wall-clock ms; null before the first. */
  get lastOkWall(): number | null {
    const sinceMs = this.#clock.now() - this.lastOkAt
    return Number.isFinite(sinceMs) ? this.#clock.wallTime() - sinceMs : null
  }

  get breaker(): Breaker {
    return this.#breaker
  }

  get isUnwell(): boolean {
    return isUnwell(this.#probes, this.#policy)
  }

  /** It answers checks, but later than they allow. */
  get isSlow(): boolean {
    return this.#patienceMs > this.#policy.timeoutMs
  }

  /** Monotonic ms of the next trial of a call; null where none has to be waited for. */
  get nextTrialDue(): number | null {
    const until = Math.max(this.#breaker.kind === 'open' ? this.#breaker.until : 0, this.closedUntil)
    return until > this.#clock.now() ? until : null
  }

  /** Why it is not well, in words; null when it is. */
  get reason(): string | null {
    if (this.#breaker.kind !== 'closed') return this.#breaker.reason
    return this.isUnwell ? this.#probes.reason : null
  }

  connected(connection: Connection): void {
    this.disconnected()
    this.#connection = connection
    this.lastOkAt = this.#clock.now()
    this.#schedule()
  }

  disconnected(): void {
    this.#connection = null
    this.#timer?.cancel()
    this.#trialTimer?.cancel()
    this.#timer = null
    this.#trialTimer = null
    this.#trial = null
    this.#probes = NO_PROBES
    this.#window.clear()
    this.#breaker = CLOSED
  }

  /** Every request's end; the common case costs three numbers. */
  record(outcome: Outcome, connection: Connection, sentAt = Number.POSITIVE_INFINITY): void {
    if (outcome.kind === 'answered') {
      if (connection === this.#connection) this.#succeeded()
      return
    }
    if (outcome.kind === 'cancelled') return
    const { error } = outcome
    // It holds for the server, whichever connection it was said on.
    this.heed(error)
    if (connection !== this.#connection) return
    const finding = findingOf(error)
    if (finding === 'failed' && sentAt >= this.#backAt) this.#failed(reasonOf(error))
    else if (finding === 'unauthorized') this.events.unauthorized(error)
  }

  /**
   * Whether a server behind an open breaker can be used after all.
   * @returns a running trial that the caller began, or null: it has to be told the cause at once
   */
  demand(): Promise<boolean> | null {
    if (this.#clock.now() < this.closedUntil) return null
    this.#feed({ kind: 'demanded' })
    if (this.#breaker.kind !== 'half_open') return null
    return this.#breaker.busy ? this.#insist(this.#breaker.triedAt) : this.#try()
  }

  #succeeded(): void {
    const now = this.#clock.now()
    this.lastOkAt = now
    this.#window.record(now, false)
    if (this.#probes.failures > 0) this.#foundAlive()
    if (this.#breaker.kind === 'closed' && this.#breaker.consecutive === 0) return
    // Of an open one, only a trial decides.
    if (this.#breaker.kind === 'closed') this.#feed({ kind: 'succeeded' })
  }

  #foundAlive(): void {
    const was = this.isUnwell
    this.#probes = probeSucceeded(this.#probes)
    if (was) this.events.changed(true)
  }

  #failed(reason: string): void {
    const now = this.#clock.now()
    this.#window.record(now, true)
    // Of one that is not closed, only a trial decides.
    if (this.#breaker.kind === 'closed')
      this.#feed({ kind: 'failed', reason, crowded: this.#window.isCrowded(now) })
    this.#probeSoon()
  }

  /** A server may ask to be left alone; it is, for every caller. */
  heed(error: GatewayError): void {
    const { retryAfterMs } = error.details
    if (retryAfterMs === undefined || error.code === 'CALL_TIMEOUT') return
    const ms = Math.min(LIMITS.retryAfterMaxMs, Math.max(LIMITS.retryAfterMinMs, retryAfterMs))
    this.closedUntil = Math.max(this.closedUntil, this.#clock.now() + ms)
  }

  // ---- the breaker ----------------------------------------------------------------------------------------

  #feed(event: BreakerEvent): void {
    const before = this.#breaker
    const now = this.#clock.now()
    this.#breaker = stepBreaker(before, event, now, this.host.random.next(), this.breakerPolicy)
    if (this.#breaker.kind === before.kind) return
    this.#trialTimer?.cancel()
    this.#trialTimer = null
    if (this.#breaker.kind === 'open') {
      const delay = Math.max(this.#breaker.until, this.closedUntil) - now
      this.#trialTimer = this.#clock.after(delay, () => this.#due())
    }
    if (this.#breaker.kind === 'closed') this.#recovered()
    else this.events.changed(before.kind === 'closed')
  }

  #recovered(): void {
    this.#backAt = this.#clock.now()
    this.#probes = NO_PROBES
    this.#window.clear()
    this.events.recovered()
  }

  #due(): void {
    this.#feed({ kind: 'due' })
    if (this.#breaker.kind === 'half_open' && !this.#breaker.busy) void this.#try()
  }

  /** One real request decides; whoever comes meanwhile shares its verdict. */
  #try(): Promise<boolean> {
    const connection = this.#connection
    if (!connection) return Promise.resolve(false)
    this.#feed({ kind: 'trial-began' })
    this.#trial ??= askForList(this.#question(connection), Math.max(TRIAL_MS, this.#patienceMs)).then(
      outcome => {
        if (connection !== this.#connection) return false
        this.#trial = null
        // A later question was answered first.
        return this.#breaker.kind === 'closed' || this.#judge(outcome)
      },
    )
    return this.#trial
  }

  /** A trial that began while the server hung may wait for nothing: whoever needs it after a while asks once more. */
  #insist(triedAt: number): Promise<boolean> | null {
    const connection = this.#connection
    const now = this.#clock.now()
    if (!connection || now - Math.max(triedAt, this.#insistedAt) < TRIAL_MS) return null
    this.#insistedAt = now
    return askForList(this.#question(connection), TRIAL_MS).then(outcome => {
      if (connection !== this.#connection || this.#breaker.kind !== 'half_open') return false
      return outcome.kind === 'answered' && this.#judge(outcome)
    })
  }

  #judge(outcome: Outcome): boolean {
    if (outcome.kind === 'answered') {
      this.lastOkAt = this.#clock.now()
      this.#feed({ kind: 'succeeded' })
      return true
    }
    if (outcome.kind === 'cancelled') {
      this.#feed({ kind: 'trial-void' })
      return false
    }
    const { error } = outcome
    this.heed(error)
    if (findingOf(error) === 'unauthorized') this.events.unauthorized(error)
    else if (isThrottled(error)) this.#feed({ kind: 'succeeded' })
    else {
      this.#feed({ kind: 'failed', reason: reasonOf(error), crowded: false })
      // Its answers come on one lasting stream: dead without a word, it would fail every trial for ever.
      if (this.#connection?.transport === 'sse') this.events.unwell(error)
    }
    return false
  }

  #question(connection: Connection): Question {
    const { name: upstream } = this.spec
    return { connection, clock: this.#clock, upstream, late: this.#late(connection) }
  }

  // ---- health checks --------------------------------------------------------------------------------------

  #schedule(ms = nextProbeIn(this.#probes, this.#policy, this.host.random.next())): void {
    this.#timer?.cancel()
    this.#dueAt = this.#clock.now() + ms
    this.#timer = this.#clock.after(ms, () => void this.#probe())
  }

  #probeSoon(): void {
    if (this.#connection && this.#timer && this.#dueAt - this.#clock.now() > SOON_MS) this.#schedule(SOON_MS)
  }

  async #probe(): Promise<void> {
    const connection = this.#connection
    if (!connection) return
    this.#timer = null
    const startedAt = this.#clock.now()
    const held = startedAt - this.#dueAt > LATE_MS
    if (!held && this.#shouldProbe(connection, startedAt)) {
      const patienceMs = this.#patienceMs
      const outcome = await askAlive(this.#question(connection), patienceMs)
      if (connection !== this.#connection) return
      const tookMs = this.#clock.now() - startedAt
      if (tookMs < patienceMs + LATE_MS) this.#probed(outcome, tookMs)
    }
    if (connection === this.#connection) this.#schedule()
  }

  /** Nothing wakes a sleeping remote but a call, and an open breaker has trials of its own. */
  #shouldProbe(connection: Connection, now: number): boolean {
    if (this.spec.supervision.wake || this.#breaker.kind !== 'closed' || now < this.closedUntil) return false
    return isProbeDue({
      inFlight: connection.inFlight,
      sinceOkMs: now - this.lastOkAt,
      failures: this.#probes.failures + (this.#breaker.consecutive > 0 ? 1 : 0),
      intervalMs: this.#policy.intervalMs,
    })
  }

  /** An answer after its time: slow is not dead. */
  #late(connection: Connection): (tookMs: number) => void {
    return tookMs => {
      if (connection !== this.#connection) return
      this.#patienceMs = Math.min(LATE_LIMIT_MS, tookMs * 2)
      this.#succeeded()
      if (this.#breaker.kind !== 'closed') this.#feed({ kind: 'reset' })
      this.events.changed(false)
    }
  }

  #probed(outcome: Outcome, tookMs: number): void {
    if (outcome.kind === 'answered') {
      const slow = this.isSlow
      if (slow && tookMs < this.#policy.timeoutMs) this.#patienceMs = this.#policy.timeoutMs
      this.#succeeded()
      if (slow !== this.isSlow) this.events.changed(false)
      return
    }
    if (outcome.kind === 'cancelled') return
    const { error } = outcome
    this.heed(error)
    if (findingOf(error) === 'unauthorized') return this.events.unauthorized(error)
    if (isThrottled(error)) return this.#succeeded()
    if (error.details.local) return
    this.#probes = probeFailed(this.#probes, reasonOf(error))
    if (this.#breaker.kind === 'closed')
      this.#feed({ kind: 'failed', reason: reasonOf(error), crowded: this.isUnwell })
    if (!this.isUnwell) return
    if (this.#probes.failures === this.#policy.failures) this.events.changed(true)
    this.events.unwell(error)
  }
}

function isThrottled(error: GatewayError): boolean {
  return error.code === 'OVERLOADED'
}

/** An answer of any kind is a sign of life; what never left, or was refused by rule, says nothing. */
export function findingOf(error: GatewayError): Finding {
  if (error.details.local || error.details.connectionLost) return 'nothing'
  switch (error.code) {
    case 'SIGN_IN_REQUIRED':
      return 'unauthorized'
    case 'OVERLOADED':
    case 'UPSTREAM_REMOVED':
    case 'MISCONFIGURED':
    case 'INTERNAL':
      return 'nothing'
    case 'CALL_TIMEOUT':
    case 'OUTCOME_UNKNOWN':
    case 'PROTOCOL_VIOLATION':
      return 'failed'
    default:
      return error.phase === 'rejected' ? 'alive' : 'failed'
  }
}
