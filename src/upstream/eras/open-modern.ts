import type { Outcome } from '../../model/index.js'
import type { Clock, Random } from '../../runtime/ports.js'
import type { UpstreamConnection } from '../connection.js'
import { ALL_LISTS_CHANGED, PROMPT_MS } from '../missed-changes.js'
import { Backoff, openListen, whenOver } from './listen.js'

/** In a row. */
const MOST_REFUSALS = 3

/**
 * Keeps one `subscriptions/listen` open for list changes, as long as the connection lives. A server that refuses it is
 * left alone after a few tries; one that drops it is asked again with backoff.
 */
export class ListWatch {
  readonly #backoff: Backoff
  #refusals = 0
  #tries = 0

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly clock: Clock,
    random: Random,
  ) {
    this.#backoff = new Backoff(clock, random)
    whenOver(connection, () => this.#backoff.stop())
  }

  open(): void {
    const wanted = this.#wanted()
    if (this.connection.isOver || !wanted) return
    const openedAt = this.clock.now()
    this.#tries += 1
    openListen(this.connection, this.clock, wanted, {
      acknowledged: () => {
        this.#refusals = 0
        this.#backoff.worked()
        // What changed while nobody listened is found out by asking.
        if (this.#tries > 1 || this.clock.now() - openedAt > PROMPT_MS) this.#tellMissed()
      },
      over: outcome => {
        if (isRefusal(outcome)) this.#refusals += 1
        if (this.#refusals < MOST_REFUSALS && !this.connection.isOver) {
          this.#backoff.later(() => this.open(), outcome)
        }
      },
    })
  }

  #tellMissed(): void {
    for (const message of ALL_LISTS_CHANGED) this.connection.message(message, null)
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
