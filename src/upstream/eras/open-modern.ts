import type { Outcome } from '../../model/index.js'
import type { Clock, Random, Timer } from '../../runtime/ports.js'
import { json, objectAt } from '../../wire/index.js'
import type { UpstreamConnection } from '../connection.js'
import { ALL_LISTS_CHANGED, PROMPT_MS } from '../missed-changes.js'

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 30_000
/** In a row. */
const MOST_REFUSALS = 3
/** A server that takes a subscription up says so at once (2026-07-28, subscriptions). */
const ACKNOWLEDGED_MS = 10_000

/**
 * Keeps one `subscriptions/listen` open for list changes, as long as the connection lives. A server that refuses it is
 * left alone after a few tries; one that drops it is asked again with backoff.
 */
export class ListWatch {
  #retryMs = FIRST_RETRY_MS
  #refusals = 0
  #tries = 0
  #timer: Timer | null = null

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {
    connection.onOver = () => this.#timer?.cancel()
  }

  open(): void {
    const wanted = this.#wanted()
    if (this.connection.isOver || !wanted) return
    const openedAt = this.clock.now()
    this.#tries += 1
    const silence = this.clock.after(ACKNOWLEDGED_MS, () => running.cancel('not taken up'))
    this.connection.onListening = () => {
      silence.cancel()
      this.#refusals = 0
      // What changed while nobody listened is found out by asking.
      if (this.#tries > 1 || this.clock.now() - openedAt > PROMPT_MS) this.#tellMissed()
    }
    const running = this.connection.request({
      method: 'subscriptions/listen',
      params: objectAt(json({ notifications: wanted })),
      context: null,
      settle: outcome => {
        silence.cancel()
        if (isRefusal(outcome)) this.#refusals += 1
        if (this.clock.now() - openedAt > LAST_RETRY_MS) this.#retryMs = FIRST_RETRY_MS
        const restMs = 'error' in outcome ? outcome.error.details.retryAfterMs : undefined
        if (this.#refusals < MOST_REFUSALS) this.#again(restMs)
      },
    })
  }

  #tellMissed(): void {
    for (const message of ALL_LISTS_CHANGED) this.connection.message(message, null)
  }

  #again(restMs = 0): void {
    if (this.connection.isOver) return
    const delay = Math.max(restMs, this.#retryMs * (0.5 + this.random.next() / 2))
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
    this.#timer = this.clock.after(delay, () => this.open())
  }

  #wanted(): Record<string, boolean> | null {
    const wanted: Record<string, boolean> = {}
    for (const kind of ['tools', 'prompts', 'resources']) {
      const declared = this.connection.capabilities[kind]
      const says = typeof declared === 'object' && declared !== null && 'listChanged' in declared
      if (says && declared.listChanged === true) wanted[`${kind}ListChanged`] = true
    }
    return Object.keys(wanted).length > 0 ? wanted : null
  }
}

/** It will not, as opposed to: not now. */
function isRefusal(outcome: Outcome): boolean {
  if (outcome.kind === 'answered') return 'error' in outcome.reply
  return outcome.kind === 'rejected' && outcome.error.code !== 'OVERLOADED'
}
