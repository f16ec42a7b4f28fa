import type { ConnectionEvents } from '../runtime/ports.js'
import { type Recyclable, Recycler } from './recycler.js'
import type { Transport, TransportFault } from './transport.js'
import { QuietLog, ViolationBudget } from './violations.js'

export interface Watched extends Recyclable {
  readonly link: Transport
  readonly events: Pick<ConnectionEvents, 'violation'>
}

/** How a server behaves on one connection, and the end of the connection when it behaves too badly. */
export class Conduct {
  readonly #budget: ViolationBudget
  readonly #garbage: QuietLog
  readonly #recycler: Recycler

  constructor(private readonly watched: Watched) {
    this.#budget = new ViolationBudget(watched.clock)
    this.#garbage = new QuietLog(watched.clock, what => watched.events.violation(what))
    this.#recycler = new Recycler(watched, fault => watched.link.fail(fault))
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

  /** Too many cancelled requests were never answered. Only a process can go on with them for nobody. */
  doubt(): void {
    if (this.watched.link.kind === 'stdio') this.#recycler.doubt()
  }

  stop(): void {
    this.#recycler.stop()
  }
}

function broken(message: string): TransportFault {
  return { phase: 'unknown', reason: 'violation', message }
}
