import type { Outcome } from '../../model/index.js'
import type { Clock, Connection, Timer } from '../../runtime/ports.js'
import { json, objectAt } from '../../wire/index.js'
import type { UpstreamConnection } from '../connection.js'
import { whenOver } from './listen.js'

const ANSWER_MS = 10_000
const RETRY_MS = 5_000
/** Requests about subscriptions under way at a time: thousands may be wanted anew after a restart. */
const AT_A_TIME = 8

type Taken = (refusal: Outcome | null) => void

interface Followed {
  readonly uri: string
  /** Null = not wanted any more. */
  taken: Taken | null
  /** The server tells about it, as far as known. */
  told: boolean
  /** A request about it waits, is under way, or is to be repeated. */
  busy: boolean
}

/** How `resources/subscribe` and `resources/unsubscribe` bring a server to what is wanted: for each URI one at a time. */
export function followLegacy(connection: UpstreamConnection, clock: Clock): Connection['follow'] {
  const { resources } = connection.capabilities
  const offers = typeof resources === 'object' && resources !== null && 'subscribe' in resources
  if (!offers || resources.subscribe !== true) return undefined
  const follower = new LegacyFollower(connection, clock)
  return (uri, taken) => follower.follow(uri, taken)
}

class LegacyFollower {
  readonly #followed = new Map<string, Followed>()
  readonly #queue: Followed[] = []
  readonly #retries = new Set<Timer>()
  #underWay = 0

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly clock: Clock,
  ) {
    whenOver(connection, () => {
      for (const retry of this.#retries) retry.cancel()
    })
  }

  follow(uri: string, taken: Taken): () => void {
    const followed = this.#followed.get(uri) ?? { uri, taken, told: false, busy: false }
    followed.taken = taken
    this.#followed.set(uri, followed)
    this.#settle(followed)
    return () => {
      if (followed.taken !== taken) return
      followed.taken = null
      this.#settle(followed)
    }
  }

  /** Compares what is wanted with what is so. */
  #settle(followed: Followed): void {
    if (followed.busy) return
    const { taken, told, uri } = followed
    if ((taken !== null) !== told) {
      followed.busy = true
      this.#queue.push(followed)
      this.#next()
    } else if (taken) {
      queueMicrotask(() => {
        if (followed.taken === taken) taken(null)
      })
    } else this.#followed.delete(uri)
  }

  #next(): void {
    while (this.#underWay < AT_A_TIME) {
      const followed = this.#queue.shift()
      if (!followed) return
      // It may have been settled while it waited for its turn.
      if ((followed.taken !== null) === followed.told) this.#done(followed)
      else this.#ask(followed, followed.taken !== null)
    }
  }

  #ask(followed: Followed, subscribe: boolean): void {
    this.#underWay += 1
    const silence = this.clock.after(ANSWER_MS, () => running.cancel('not answered in time'))
    const running = this.connection.request({
      method: subscribe ? 'resources/subscribe' : 'resources/unsubscribe',
      params: objectAt(json({ uri: followed.uri })),
      context: null,
      settle: outcome => {
        silence.cancel()
        this.#underWay -= 1
        if (subscribe) this.#answered(followed, outcome)
        else {
          // Whatever it says: should it go on telling, nobody listens.
          followed.told = false
          this.#done(followed)
        }
        this.#next()
      },
    })
  }

  #answered(followed: Followed, outcome: Outcome): void {
    if (outcome.kind !== 'answered') {
      if (this.connection.isOver) return
      const retry = this.clock.after(RETRY_MS, () => {
        this.#retries.delete(retry)
        this.#done(followed)
      })
      this.#retries.add(retry)
      return
    }
    followed.told = 'result' in outcome.reply
    const { taken } = followed
    if (!followed.told && taken) {
      followed.taken = null
      taken(outcome)
    }
    this.#done(followed)
  }

  #done(followed: Followed): void {
    followed.busy = false
    if (!this.connection.isOver) this.#settle(followed)
  }
}
