import type { Clock, ConnectionEvents } from '../runtime/ports.js'
import { Recycler } from './recycler.js'
import type { Transport, TransportFault } from './transport.js'
import { QuietLog, ViolationBudget } from './violations.js'

export interface Watched {
  readonly clock: Clock
  readonly link: Transport
  readonly events: Pick<ConnectionEvents, 'violation'>
  /** Calls that somebody waits for. */
  waiting(): number
}

/** How a server behaves on one connection, and the end of the connection when it behaves too badly. */
export class Conduct {
  readonly #budget: ViolationBudget
  readonly #garbage: QuietLog
  readonly #recycler: Recycler

  constructor(private readonly watched: Watched) {
    this.#budget = new ViolationBudget(watched.clock)
    this.#garbage = new QuietLog(watched.clock, what => watched.events.violation(what))
    this.#recycler = new Recycler(
      watched.clock,
      () => watched.waiting(),
      fault => watched.link.fail(fault),
    )
  }

  /** A whole message came. */
  message(): void {
    this.#budget.message()
  }

  /** Something came that is no message, as a program may print that talks to people too. */
  garbage(what: string): void {
    this.#garbage.say(what)
    const reason = this.#budget.garbage(what)
    if (reason !== null) this.watched.link.fail(broken(reason))
  }

  /** A child that breaks the protocol on and on is ended; over HTTP each call stands for itself, so calls may end. */
  violation(what: string): void {
    if (this.#recycler.isDue) return
    this.watched.events.violation(what)
    const reason = this.#budget.violation(what)
    if (reason === null) return
    if (this.watched.link.kind === 'http') this.#recycler.whenIdle(broken(reason))
    else this.watched.link.fail(broken(reason))
  }

  /** As many cancelled requests as may be visibly go on. Only a process can go on with them for nobody. */
  stuck(count: number): void {
    if (this.watched.link.kind !== 'stdio') return
    const message = `goes on with ${count} requests that were cancelled`
    this.#recycler.whenIdle({ phase: 'unknown', reason: 'stuck', message })
  }

  stop(): void {
    this.#recycler.stop()
  }
}

function broken(message: string): TransportFault {
  return { phase: 'unknown', reason: 'violation', message }
}
