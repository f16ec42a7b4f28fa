import type { Bytes, Outcome } from '../../model/index.js'
import type { Clock, Random, RunningRequest, Timer } from '../../runtime/ports.js'
import { elementsAt, json, member, objectAt, stringAt, typeAt } from '../../wire/index.js'
import type { UpstreamConnection } from '../connection.js'

/** A server that takes a subscription up says so at once (2026-07-28, subscriptions). */
const ACKNOWLEDGED_MS = 10_000
const FIRST_RETRY_MS = 1_000
/** An outage that is young is over soon: nobody waits longer than this for what was missed in it. */
const LAST_RETRY_OF_YOUNG_MS = 5_000
const LAST_RETRY_MS = 30_000
const YOUNG_MS = 60_000
/** A stream that lived for so long worked; what drops its streams sooner is one outage. */
const STEADY_MS = 10_000

export interface ListenEvents {
  /** @param params raw, of the acknowledgement */
  acknowledged(params: Bytes | null): void
  /** It ended, in whatever way: refused, dropped, or cancelled by either side. */
  over(outcome: Outcome): void
}

/** One `subscriptions/listen` request, given up when nobody acknowledges it. */
export function openListen(
  connection: UpstreamConnection,
  clock: Clock,
  notifications: Readonly<Record<string, unknown>>,
  events: ListenEvents,
): RunningRequest {
  const silence = clock.after(ACKNOWLEDGED_MS, () => running.cancel('not taken up'))
  const running = connection.request({
    method: 'subscriptions/listen',
    params: objectAt(json({ notifications })),
    context: null,
    onAcknowledged: params => {
      silence.cancel()
      events.acknowledged(params)
    },
    settle: outcome => {
      silence.cancel()
      events.over(outcome)
    },
  })
  return running
}

/** The resources that an acknowledgement takes up; null when it does not say what it takes up at all. */
export function honouredIn(params: Bytes | null): ReadonlySet<string> | null {
  const object = params && objectAt(params)
  const found = object && member(object, 'notifications')
  if (!object || !found || typeAt(object.bytes, found) !== 'object') return null
  const uris = member(objectAt(object.bytes, found), 'resourceSubscriptions')
  if (!uris || typeAt(object.bytes, uris) !== 'array') return new Set()
  return new Set(elementsAt(object.bytes, uris).flatMap(span => stringAt(object.bytes, span) ?? []))
}

/** Beside whoever else wants to be told. */
export function whenOver(connection: UpstreamConnection, tell: () => void): void {
  const { onOver } = connection
  connection.onOver = () => {
    onOver?.()
    tell()
  }
}

/** When to open a stream again that was lost. */
export class Backoff {
  #retryMs = FIRST_RETRY_MS
  /** Since when there is an outage. */
  #since: number | null = null
  #openSince: number | null = null
  #timer: Timer | null = null

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  /** A stream was taken up. */
  worked(): void {
    this.#openSince = this.clock.now()
  }

  /** @param after how the last try ended: its server may want a rest */
  later(open: () => void, after: Outcome): void {
    const now = this.clock.now()
    const worked = this.#openSince !== null && now - this.#openSince > STEADY_MS
    this.#openSince = null
    if (this.#since === null || worked) {
      this.#since = now
      this.#retryMs = FIRST_RETRY_MS
    }
    const last = now - this.#since < YOUNG_MS ? LAST_RETRY_OF_YOUNG_MS : LAST_RETRY_MS
    const delay = Math.min(this.#retryMs, last) * (0.5 + this.random.next() / 2)
    const restMs = 'error' in after ? (after.error.details.retryAfterMs ?? 0) : 0
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
    this.#timer = this.clock.after(Math.max(restMs, delay), open)
  }

  stop(): void {
    this.#timer?.cancel()
  }
}
