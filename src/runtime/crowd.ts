import { GatewayError, LIMITS } from '../model/index.js'

/** Without sign-in everybody is one and the same identity: then only the bound on all of them can hold. */
const EVERYBODY = 'local'

/** All calls of the gateway that have no answer yet, and whose they are. */
export class Crowd {
  #size = 0
  readonly #of = new Map<string, number>()

  get size(): number {
    return this.#size
  }

  /** @returns why it may not go on; null when it is counted, until `leave` */
  enter(principal: string): GatewayError | null {
    if (this.#size >= LIMITS.inFlightTotal) {
      return overloaded(`${LIMITS.inFlightTotal} calls are under way in the gateway`)
    }
    if (principal !== EVERYBODY) {
      const own = this.#of.get(principal) ?? 0
      if (own >= LIMITS.inFlightPerPrincipal) return overloaded(`${own} calls of yours are under way`)
      this.#of.set(principal, own + 1)
    }
    this.#size += 1
    return null
  }

  leave(principal: string): void {
    this.#size -= 1
    if (principal === EVERYBODY) return
    const left = (this.#of.get(principal) ?? 1) - 1
    if (left > 0) this.#of.set(principal, left)
    else this.#of.delete(principal)
  }
}

function overloaded(reason: string): GatewayError {
  return new GatewayError(
    'OVERLOADED',
    `${reason}. The request was not sent; try again when some have ended.`,
    {
      reason,
      retryAfterMs: 1_000,
    },
  )
}
