import { type Candidate, resolve } from '../core/route/index.js'
import { type Bytes, GatewayError, LIMITS, type Outcome, type Scope } from '../model/index.js'
import { editObject, json, member, objectAt, typeAt } from '../wire/index.js'
import type { Host, Subscription, SubscriptionEvents, Timer } from './ports.js'
import type { ResourceBook } from './resource-book.js'
import type { Store } from './store.js'

/** A subscription that its server has not taken up by then stands all the same: it will be, and the client is told. */
const TAKEN_UP_MS = 2_000
/** Commits within this time are one occasion to look again for unknown owners. */
const LOOK_AGAIN_MS = 50

export interface SubscriptionRoom {
  readonly host: Pick<Host, 'clock'>
  readonly store: Store
  supervisor(
    name: string,
  ): { readonly resources: ResourceBook; readonly connection: unknown; demand(): void } | undefined
}

/** Subscriptions in all, for the bound on them. */
export interface SubscriptionCount {
  open: number
}

/** The subscriptions of clients: each finds the servers that own its URI and follows it there. */
export class Subscriptions {
  readonly #open = new Set<ResourceSubscription>()
  /** Whose owner is not known yet. */
  readonly #ownerless = new Set<ResourceSubscription>()
  #looking: Timer | null = null
  readonly #leave: () => void

  constructor(
    private readonly room: SubscriptionRoom,
    private readonly count: SubscriptionCount,
  ) {
    this.#leave = room.store.onCommit(() => {
      if (this.#ownerless.size > 0) this.#looking ??= room.host.clock.after(LOOK_AGAIN_MS, () => this.#look())
    })
  }

  subscribe(scope: Scope, uri: string, events: SubscriptionEvents): Subscription {
    if (this.count.open >= LIMITS.subscriptions) return refuse(tooManyInAll(), events)
    this.count.open += 1
    const subscription = new ResourceSubscription(this.room, scope, uri, events, {
      ownerless: () => this.#ownerless.add(subscription),
      over: () => {
        this.count.open -= 1
        this.#open.delete(subscription)
        this.#ownerless.delete(subscription)
      },
    })
    this.#open.add(subscription)
    subscription.start()
    return subscription
  }

  /**
   * Other instances have taken the place of those that are followed, or nobody has.
   * @param names of these servers; none = of any
   */
  reroute(names?: ReadonlySet<string>): void {
    for (const subscription of [...this.#open])
      if (!names || subscription.follows(names)) subscription.reroute()
  }

  /** None is open any more. */
  stop(): void {
    this.#leave()
    this.#looking?.cancel()
    for (const subscription of [...this.#open]) subscription.end()
  }

  #look(): void {
    this.#looking = null
    const waiting = [...this.#ownerless]
    this.#ownerless.clear()
    for (const subscription of waiting) subscription.route()
  }
}

interface Registry {
  /** Its owner is looked for again when more is known. */
  ownerless(): void
  over(): void
}

class ResourceSubscription implements Subscription {
  readonly #leaves: (() => void)[] = []
  /** Servers at which it is followed. */
  #owners: readonly string[] = []
  #settled = false
  /** The client was told that it stands before a server had taken it up. */
  #early = false
  #over = false
  #asked = 0
  #refusals = 0
  #patience: Timer | null = null

  constructor(
    private readonly room: SubscriptionRoom,
    private readonly scope: Scope,
    private readonly uri: string,
    private readonly events: SubscriptionEvents,
    private readonly registry: Registry,
  ) {}

  start(): void {
    this.#patience = this.room.host.clock.after(TAKEN_UP_MS, () => this.#stand())
    this.route(true)
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    this.#patience?.cancel()
    for (const leave of this.#leaves) leave()
    this.registry.over()
  }

  follows(names: ReadonlySet<string>): boolean {
    return this.#owners.some(name => names.has(name))
  }

  /** What happened in between nobody heard: the client is told once it is followed again. */
  reroute(): void {
    for (const leave of this.#leaves.splice(0)) leave()
    this.#owners = []
    this.#refusals = 0
    this.#early ||= this.#settled
    this.route(true)
  }

  /** Where several servers could own the URI, all of them are followed: whichever does will tell. */
  route(first = false): void {
    if (this.#over) return
    const found = resolve(this.room.store.current, this.scope, { kind: 'resource', uri: this.uri })
    switch (found.kind) {
      case 'found':
        return this.#follow([found])
      case 'ask-in-order':
        return this.#follow(found.candidates)
      case 'undecided': {
        this.registry.ownerless()
        if (first) for (const name of [...found.pending, ...found.unavailable]) this.#wake(name)
        if (found.pending.length === 0) queueMicrotask(() => this.#stand())
        return
      }
      case 'unknown':
        if (this.#settled) this.registry.ownerless()
        else queueMicrotask(() => this.#refuse(notFound(this.uri)))
    }
  }

  #follow(candidates: readonly Candidate[]): void {
    this.#asked = candidates.length
    this.#owners = candidates.map(({ upstream }) => upstream)
    for (const { upstream, native } of candidates) {
      const supervisor = this.room.supervisor(upstream)
      if (!supervisor) {
        this.#asked -= 1
        continue
      }
      this.#leaves.push(supervisor.resources.join(native, this.#follower()))
      if (supervisor.connection === null) supervisor.demand()
    }
    if (this.#asked === 0) queueMicrotask(() => this.#stand())
  }

  #follower(): Parameters<ResourceBook['join']>[1] {
    let before = false
    return {
      answered: answer => {
        if (this.#over) return
        if (typeof answer === 'object') {
          this.#refusals += 1
          if (this.#refusals >= this.#asked) this.#refuse(answer)
          return
        }
        const missed = answer === 'taken' && (before || this.#early)
        before = true
        if (missed) this.#tell(json({ uri: this.uri }))
        else this.#settle(null)
      },
      updated: (part, params) => this.#tell(publicParams(this.uri + part, params)),
    }
  }

  #tell(params: Bytes): void {
    if (!this.#over && this.#settled) this.events.updated(params)
  }

  #wake(name: string): void {
    this.room.supervisor(name)?.demand()
  }

  /** An outage is never "not found": it stands, and what may have happened until it is taken up is told then. */
  #stand(): void {
    if (this.#settled || this.#over) return
    this.#early = true
    this.#settle(null)
  }

  /** One that stands goes on standing: the server may think otherwise at its next start. */
  #refuse(refusal: Outcome): void {
    if (this.#settled || this.#over) return
    this.end()
    this.#settle(refusal)
  }

  #settle(refusal: Outcome | null): void {
    if (this.#settled) return
    this.#settled = true
    this.#patience?.cancel()
    this.events.settled(refusal)
  }
}

/** The server's own params under the public URI, without what belongs to its hop. */
function publicParams(uri: string, params: Bytes | null): Bytes {
  if (params === null) return json({ uri })
  const object = objectAt(params)
  const edits = new Map<string, Bytes | null>([['uri', json(uri)]])
  const meta = member(object, '_meta')
  if (meta) edits.set('_meta', typeAt(params, meta) === 'object' ? publicMeta(objectAt(params, meta)) : null)
  return editObject(object, edits)
}

function publicMeta(meta: ReturnType<typeof objectAt>): Bytes | null {
  const reserved = meta.members.filter(({ key }) => key.startsWith('io.modelcontextprotocol/'))
  const kept = editObject(meta, new Map(reserved.map(({ key }) => [key, null])))
  return kept.length > 2 ? kept : null
}

function refuse(refusal: Outcome, events: SubscriptionEvents): Subscription {
  let over = false
  queueMicrotask(() => {
    if (!over) events.settled(refusal)
  })
  return {
    end: () => {
      over = true
    },
  }
}

function notFound(uri: string): Outcome {
  return { kind: 'never-sent', error: new GatewayError('NOT_FOUND', `Unknown resource: ${uri}`) }
}

function tooManyInAll(): Outcome {
  const message = `There are ${LIMITS.subscriptions} subscriptions to resources; try again later.`
  return { kind: 'never-sent', error: new GatewayError('OVERLOADED', message, { retryAfterMs: 5_000 }) }
}
