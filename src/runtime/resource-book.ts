import { parentsOf } from '../core/route/index.js'
import { type Bytes, GatewayError, type Outcome } from '../model/index.js'
import { member, objectAt, stringAt } from '../wire/index.js'
import type { Clock, Connection, Timer } from './ports.js'

const UPDATED = 'notifications/resources/updated'
/** Updates of one resource within this time after one that was told are told at its end, each part of it once. */
const PACE_MS = 100
/** Parts of one resource that are told apart within that time. */
const MAX_PARTS = 100

/** Who wants to know about a resource, under the server's own URI for it. */
export interface Follower {
  /**
   * What the server makes of it, after each change: it tells from now on, nobody is there to tell, or it refuses.
   * Never called from within `join`.
   */
  answered(answer: 'taken' | 'away' | Outcome): void
  /** @param part what follows the URI in the one that the server named; raw params, when there were any */
  updated(part: string, params: Bytes | null): void
}

interface Entry {
  readonly uri: string
  readonly followers: Set<Follower>
  state: 'away' | 'asked' | 'taken' | 'refused'
  unfollow: (() => void) | null
  /** Updates that wait for their time, by part; null = none may be told now. */
  readonly held: Map<string, Bytes | null>
  timer: Timer | null
}

/** Who follows which resources of one upstream, counted: the server is asked once for each, at every connection anew. */
export class ResourceBook {
  readonly #entries = new Map<string, Entry>()
  #connection: Connection | null = null

  constructor(
    private readonly upstream: string,
    private readonly clock: Clock,
  ) {}

  /** Resources that somebody follows. */
  get size(): number {
    return this.#entries.size
  }

  /** @returns the way to leave */
  join(uri: string, follower: Follower): () => void {
    const entry = this.#entries.get(uri) ?? this.#add(uri)
    entry.followers.add(follower)
    if (entry.state === 'taken') this.#say(entry, 'taken', follower)
    else if (this.#connection === null) this.#say(entry, 'away', follower)
    else if (entry.state !== 'asked') this.#ask(entry, this.#connection)
    return () => {
      if (entry.followers.delete(follower) && entry.followers.size === 0) this.#drop(entry)
    }
  }

  connected(connection: Connection): void {
    this.#connection = connection
    for (const entry of this.#entries.values()) this.#ask(entry, connection)
  }

  disconnected(): void {
    this.#connection = null
    for (const entry of this.#entries.values()) {
      entry.state = 'away'
      entry.unfollow = null
      this.#say(entry, 'away')
    }
  }

  notified(method: string, params: Bytes | null): void {
    if (method !== UPDATED || this.#entries.size === 0) return
    const uri = params === null ? undefined : uriIn(params)
    if (uri === undefined) {
      // What was updated while nobody listened is not known.
      for (const entry of this.#entries.values()) if (entry.state === 'taken') this.#update(entry, '', null)
      return
    }
    for (const followed of [uri, ...parentsOf(uri)]) {
      const entry = this.#entries.get(followed)
      if (entry) this.#update(entry, uri.slice(followed.length), params)
    }
  }

  #add(uri: string): Entry {
    const entry: Entry = {
      uri,
      followers: new Set(),
      state: 'away',
      unfollow: null,
      held: new Map(),
      timer: null,
    }
    this.#entries.set(uri, entry)
    return entry
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.uri)
    entry.timer?.cancel()
    entry.unfollow?.()
  }

  #ask(entry: Entry, connection: Connection): void {
    if (!connection.follow) {
      entry.state = 'refused'
      return this.#say(entry, offersNone(this.upstream))
    }
    entry.state = 'asked'
    entry.unfollow = connection.follow(entry.uri, refusal => {
      if (connection !== this.#connection || this.#entries.get(entry.uri) !== entry) return
      entry.state = refusal ? 'refused' : 'taken'
      if (refusal) entry.unfollow = null
      for (const follower of [...entry.followers]) follower.answered(refusal ?? 'taken')
    })
  }

  /** In a later turn, and only what is still so. */
  #say(entry: Entry, answer: 'taken' | 'away' | Outcome, only?: Follower): void {
    const { state } = entry
    queueMicrotask(() => {
      if (entry.state !== state) return
      for (const follower of only ? [only] : [...entry.followers]) {
        if (entry.followers.has(follower)) follower.answered(answer)
      }
    })
  }

  #update(entry: Entry, part: string, params: Bytes | null): void {
    if (entry.timer) {
      if (entry.held.size < MAX_PARTS) entry.held.set(part, params && Buffer.from(params))
      else {
        entry.held.clear()
        entry.held.set('', null)
      }
      return
    }
    entry.timer = this.clock.after(PACE_MS, () => this.#release(entry))
    for (const follower of [...entry.followers]) follower.updated(part, params)
  }

  #release(entry: Entry): void {
    entry.timer = null
    const held = [...entry.held]
    entry.held.clear()
    if (held.length === 0) return
    entry.timer = this.clock.after(PACE_MS, () => this.#release(entry))
    for (const [part, params] of held) {
      for (const follower of [...entry.followers]) follower.updated(part, params)
    }
  }
}

function uriIn(params: Bytes): string | undefined {
  const found = member(objectAt(params), 'uri')
  return found && stringAt(params, found)
}

function offersNone(upstream: string): Outcome {
  const reason = 'it offers no subscriptions to its resources (capability resources.subscribe)'
  const error = new GatewayError('METHOD_NOT_FOUND', `${upstream}: ${reason}.`, { upstream, reason })
  return { kind: 'never-sent', error }
}
