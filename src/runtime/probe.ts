import { GatewayError, LIST_METHOD, type Outcome } from '../model/index.js'
import type { Clock, Connection } from './ports.js'

/** How long a late answer is still heard. */
export const LATE_LIMIT_MS = 30_000

export interface Question {
  readonly connection: Connection
  readonly clock: Clock
  readonly upstream: string
  /** Told when the answer comes after all, with the milliseconds that it took. */
  readonly late: (tookMs: number) => void
}

/** The smallest request of the server's era; it never opens a session. */
export function askAlive(question: Question, ms: number): Promise<Outcome> {
  return ask(question, question.connection.era === 'legacy' ? 'ping' : 'server/discover', ms)
}

/** A real request that is harmless: what a ping passes, a list may not. */
export function askForList(question: Question, ms: number): Promise<Outcome> {
  const { tools, resources, prompts } = question.connection.capabilities
  if (tools !== undefined) return ask(question, LIST_METHOD.tools, ms)
  if (resources !== undefined) return ask(question, LIST_METHOD.resources, ms)
  return prompts === undefined ? askAlive(question, ms) : ask(question, LIST_METHOD.prompts, ms)
}

/** One request of the gateway itself; resolves in any case, with a timeout as `unknown`. */
function ask({ connection, clock, upstream, late }: Question, method: string, ms: number): Promise<Outcome> {
  const startedAt = clock.now()
  return new Promise(resolve => {
    let isLate = false
    let timer = clock.after(ms, () => {
      isLate = true
      timer = clock.after(Math.max(0, LATE_LIMIT_MS - ms), () => running.cancel('timeout'))
      resolve({ kind: 'unknown', error: unanswered(upstream, method, ms) })
    })
    const running = connection.request({
      method,
      params: null,
      context: null,
      settle: outcome => {
        timer.cancel()
        if (!isLate) resolve(outcome)
        else if (outcome.kind === 'answered') late(clock.now() - startedAt)
      },
    })
  })
}

function unanswered(upstream: string, method: string, ms: number): GatewayError {
  const reason = `no answer to ${method} in ${ms / 1_000} s`
  return new GatewayError('CALL_TIMEOUT', `${upstream}: ${reason}.`, { upstream, reason, phase: 'unknown' })
}
