import { type Bytes, type Caller, GatewayError, LIMITS, type Outcome, type Scope } from '../model/index.js'
import type { GatewayCore, Subscription } from '../runtime/ports.js'

interface Held {
  readonly subscription: Subscription
  /** Who wants to know how it ends up; null once it stands. */
  waiting: ((refusal: Outcome | null) => void)[] | null
}

/** The resources that one session, or one stateless stream, is told about. */
export class Followed {
  readonly #held = new Map<string, Held>()

  constructor(
    private readonly core: Pick<GatewayCore, 'subscribe'>,
    private readonly scope: Scope,
    private readonly caller: Caller,
    /** @param params raw, of `notifications/resources/updated` */
    private readonly tell: (uri: string, params: Bytes) => void,
  ) {}

  /** @param settled null = it stands; called once, in a later turn, also when it is dropped before */
  add(uri: string, settled: (refusal: Outcome | null) => void): void {
    const held = this.#held.get(uri)
    if (held?.waiting) {
      held.waiting.push(settled)
      return
    }
    const refusal = held ? null : this.#refuse(uri)
    if (held || refusal) return queueMicrotask(() => settled(refusal))
    const fresh: Held = {
      subscription: this.core.subscribe(this.scope, uri, this.caller, {
        settled: outcome => this.#settle(uri, fresh, outcome),
        updated: params => this.tell(uri, params),
      }),
      waiting: [settled],
    }
    this.#held.set(uri, fresh)
  }

  drop(uri: string): void {
    const held = this.#held.get(uri)
    if (!held) return
    this.#held.delete(uri)
    held.subscription.end()
    const waiting = held.waiting ?? []
    held.waiting = null
    for (const settled of waiting) queueMicrotask(() => settled(null))
  }

  end(): void {
    for (const { subscription } of this.#held.values()) subscription.end()
    this.#held.clear()
  }

  #settle(uri: string, held: Held, refusal: Outcome | null): void {
    const waiting = held.waiting ?? []
    held.waiting = null
    if (refusal && this.#held.get(uri) === held) this.#held.delete(uri)
    for (const settled of waiting) settled(refusal)
  }

  #refuse(uri: string): Outcome | null {
    if (this.#held.size >= LIMITS.subscriptionsPerClient) return never(tooManySubscriptions())
    if (uri.length <= LIMITS.subscribedUri) return null
    const message = `A URI to subscribe to may have ${LIMITS.subscribedUri} characters; this one has ${uri.length}.`
    return never(new GatewayError('INVALID_PARAMS', message))
  }
}

export function tooManySubscriptions(): GatewayError {
  const message = `One client may subscribe to ${LIMITS.subscriptionsPerClient} resources; unsubscribe from some first.`
  return new GatewayError('OVERLOADED', message)
}

function never(error: GatewayError): Outcome {
  return { kind: 'never-sent', error }
}
