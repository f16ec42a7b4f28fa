import type { Clock, Random } from '../../runtime/ports.js'
import type { UpstreamConnection } from '../connection.js'
import { MISSED_LISTS } from '../missed-changes.js'
import { Backoff, openListen } from './listen.js'

/**
 * Keeps one `subscriptions/listen` open for list changes, as long as the connection lives. A server that refuses it is
 * left alone after a few tries; one that drops it is asked again with backoff.
 */
export class ListWatch {
  readonly #backoff: Backoff
  #refusals = 0
  #wasOpen = false

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly clock: Clock,
    random: Random,
  ) {
    this.#backoff = new Backoff(clock, random)
  }

  open(): void {
    const wanted = this.#wanted()
    if (this.connection.isOver || !wanted) return
    openListen(this.connection, this.clock, wanted, {
      acknowledged: () => {
        this.#backoff.worked()
        // What changed while nobody listened is found out by asking.
        if (this.#wasOpen) for (const message of MISSED_LISTS) this.connection.message(message, null)
        this.#wasOpen = true
      },
      over: outcome => {
        if (outcome.kind === 'answered' && 'error' in outcome.reply) this.#refusals += 1
        if (outcome.kind === 'rejected') this.#refusals += 1
        if (this.#refusals < 3 && !this.connection.isOver) this.#backoff.later(() => this.open())
      },
    })
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
