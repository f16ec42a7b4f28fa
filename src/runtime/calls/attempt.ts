import {
  type Bytes,
  type Call,
  GatewayError,
  type HeaderParam,
  type Outcome,
  type Timeouts,
} from '../../model/index.js'
import { seconds } from '../failures.js'
import type { Clock, Connection, RunningCall, RunningRequest, Timer } from '../ports.js'

export interface AttemptRequest {
  readonly call: Call
  readonly upstream: string
  readonly connection: Connection
  readonly timeouts: Timeouts
  /** The caller's whole budget in milliseconds, and what is left of it. */
  readonly totalMs: number
  readonly leftMs: number
  readonly replace: ReadonlyMap<string, Bytes> | undefined
  readonly headerParams: readonly HeaderParam[] | undefined
}

/**
 * One request on one connection with its two deadlines: `request` without a sign of life, `total` in all.
 * `done` is called exactly once, unless the attempt is cancelled; `streamed` tells whether the server had said anything.
 */
export function startAttempt(
  clock: Clock,
  request: AttemptRequest,
  done: (outcome: Outcome, streamed: boolean) => void,
): RunningCall {
  const { call, connection, timeouts } = request
  const startedAt = clock.now()
  const total = request.leftMs
  let over = false
  let lastLife = startedAt
  let streamed = false
  let timer: Timer | null = null
  let running: RunningRequest | null = null

  const finish = (outcome: Outcome) => {
    if (over) return
    over = true
    timer?.cancel()
    done(outcome, streamed)
  }
  // One timer for both deadlines, re-armed lazily: a sign of life costs only a clock reading.
  const arm = () => {
    const now = clock.now()
    const due = Math.min(lastLife + timeouts.request, startedAt + total)
    if (due > now) {
      timer = clock.after(due - now, arm)
      return
    }
    const idle = startedAt + total > now
    finish({
      kind: 'unknown',
      error: timeoutError(request, now - startedAt, idle ? timeouts.request : request.totalMs, idle),
    })
    running?.cancel('timeout')
  }
  running = connection.request({
    method: call.method,
    params: call.params,
    replace: request.replace,
    context: call.context,
    headerParams: request.headerParams,
    onActivity: () => {
      lastLife = clock.now()
      streamed = true
    },
    settle: finish,
  })
  arm()
  return {
    cancel: reason => {
      if (over) return
      over = true
      timer?.cancel()
      running?.cancel(reason)
    },
  }
}

function timeoutError(
  request: AttemptRequest,
  elapsedMs: number,
  budget: number,
  idle: boolean,
): GatewayError {
  const { upstream, call } = request
  const what = idle ? `gave no sign of life for ${seconds(budget)}` : `was not done within ${seconds(budget)}`
  const reason = `${call.method} ${what}`
  const message = `${upstream}: ${reason}. It was told to stop, but it may have run; check before repeating it.`
  return new GatewayError('CALL_TIMEOUT', message, {
    phase: 'unknown',
    upstream,
    reason,
    elapsedMs,
    attempts: 1,
    data: { budgetMs: budget },
  })
}
