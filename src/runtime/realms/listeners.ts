import { type Caller, KINDS, type Kind, type Scope } from '../../model/index.js'
import { json } from '../../wire/index.js'
import type { Subscription, SubscriptionEvents } from '../ports.js'
import type { Realm } from './realm.js'

/** Something that a caller listens to, in the realm that the caller has. */
interface Bound {
  readonly caller: Caller
  readonly enter: (realm: Realm) => () => void
  readonly moved: () => void
  realm: Realm
  leave: () => void
}

/** What callers listen to goes with them when a reload gives them another realm. */
export class Listeners {
  readonly #open = new Set<Bound>()

  constructor(private readonly realmOf: (caller: Caller) => Realm) {}

  watch(scope: Scope, listener: (kind: Kind) => void, caller: Caller): () => void {
    // What was seen there and what is seen here are two things.
    const moved = () => {
      for (const kind of KINDS) listener(kind)
    }
    return this.#bind(caller, realm => realm.watch(scope, listener), moved)
  }

  subscribe(scope: Scope, uri: string, caller: Caller, events: SubscriptionEvents): Subscription {
    let isSettled = false
    const heard: SubscriptionEvents = {
      settled: refusal => {
        // What happened in between nobody heard.
        if (isSettled && !refusal) return events.updated(json({ uri }))
        if (isSettled) return
        isSettled = true
        if (refusal) end()
        events.settled(refusal)
      },
      updated: params => events.updated(params),
    }
    const enter = (realm: Realm) => {
      const subscription = realm.subscribe(scope, uri, heard)
      return () => subscription.end()
    }
    const end = this.#bind(caller, enter, () => undefined)
    return { end }
  }

  /** After a reload. */
  follow(): void {
    for (const bound of [...this.#open]) {
      const realm = this.realmOf(bound.caller)
      if (realm === bound.realm) continue
      bound.leave()
      bound.realm = realm
      bound.leave = bound.enter(realm)
      bound.moved()
    }
  }

  #bind(caller: Caller, enter: Bound['enter'], moved: () => void): () => void {
    const realm = this.realmOf(caller)
    const bound: Bound = { caller, enter, moved, realm, leave: enter(realm) }
    this.#open.add(bound)
    return () => {
      if (this.#open.delete(bound)) bound.leave()
    }
  }
}
