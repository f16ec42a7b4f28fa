import { GatewayError, type Outcome } from '../../model/index.js'
import type { Clock, Connection, Random, RunningRequest, Timer } from '../../runtime/ports.js'
import type { UpstreamConnection } from '../connection.js'
import { RESOURCES_MAY_HAVE_CHANGED } from '../missed-changes.js'
import { Backoff, honouredIn, openListen, whenOver } from './listen.js'

/** Changes of what is wanted within this time make one new stream. */
const COALESCE_MS = 50
/** So many refusals in a row are about more than one bad URI. */
const MAX_REFUSALS = 16
const METHOD_NOT_FOUND = /"code"\s*:\s*-32601\b/

interface Wanted {
  /** Null once it was told. */
  taken: ((refusal: Outcome | null) => void) | null
}

interface Stream {
  /** Asked for; once it is acknowledged, taken up. */
  uris: ReadonlySet<string>
  running: RunningRequest | null
}

/** How `subscriptions/listen` with `resourceSubscriptions` has a server tell about the resources that are wanted. */
export function followModern(
  connection: UpstreamConnection,
  clock: Clock,
  random: Random,
): Connection['follow'] {
  const { resources } = connection.capabilities
  const offers = typeof resources === 'object' && resources !== null && 'subscribe' in resources
  if (!offers || resources.subscribe !== true) return undefined
  const follower = new ModernFollower(connection, clock, random)
  return (uri, taken) => follower.follow(uri, taken)
}

/**
 * A stream's filter is fixed, so a change of what is wanted opens another one; the one before it stays until the new one
 * is acknowledged. It is apart from the stream for list changes, which a URI that the server refuses must not cost.
 */
class ModernFollower {
  readonly #wanted = new Map<string, Wanted>()
  /** Taken up by the server. */
  #current: Stream | null = null
  #opening: Stream | null = null
  #scheduled: Timer | null = null
  /** No stream is opened for a while. */
  #resting = false
  /** A stream was lost, and what was said since. */
  #gap = false
  /** How many URIs that are new the next stream may hold: fewer after a refusal, to find the one that is refused. */
  #batch = Number.POSITIVE_INFINITY
  #refusals = 0
  readonly #backoff: Backoff

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly clock: Clock,
    random: Random,
  ) {
    this.#backoff = new Backoff(clock, random)
    whenOver(connection, () => {
      this.#scheduled?.cancel()
      this.#backoff.stop()
    })
  }

  follow(uri: string, taken: (refusal: Outcome | null) => void): () => void {
    const wanted: Wanted = { taken }
    this.#wanted.set(uri, wanted)
    this.#soon()
    return () => {
      if (this.#wanted.get(uri) !== wanted) return
      this.#wanted.delete(uri)
      this.#soon()
    }
  }

  #soon(): void {
    if (!this.connection.isOver) this.#scheduled ??= this.clock.after(COALESCE_MS, () => this.#turn())
  }

  #later(after: Outcome): void {
    if (this.#resting) return
    this.#resting = true
    this.#backoff.later(() => {
      this.#resting = false
      this.#turn()
    }, after)
  }

  #turn(): void {
    this.#scheduled = null
    if (this.connection.isOver || this.#opening || this.#resting) return
    if (this.#wanted.size === 0) return this.#stop()
    const uris = this.#next()
    if (this.#current && sameSet(this.#current.uris, uris)) return this.#tell(this.#current, null)
    this.#open(uris)
  }

  #stop(): void {
    const { running } = this.#current ?? { running: null }
    this.#current = null
    this.#gap = false
    running?.cancel('not wanted any more')
  }

  #next(): ReadonlySet<string> {
    const next = new Set<string>()
    let fresh = 0
    for (const [uri, { taken }] of this.#wanted) {
      if (taken && ++fresh > this.#batch) continue
      next.add(uri)
    }
    return next
  }

  #open(uris: ReadonlySet<string>): void {
    const stream: Stream = { uris, running: null }
    this.#opening = stream
    const filter = { resourceSubscriptions: [...uris] }
    stream.running = openListen(this.connection, this.clock, filter, {
      acknowledged: params => this.#acknowledged(stream, honouredIn(params)),
      over: outcome => this.#over(stream, outcome),
    })
  }

  #acknowledged(stream: Stream, honoured: ReadonlySet<string> | null): void {
    if (stream !== this.#opening) return
    const before = this.#current
    this.#opening = null
    this.#current = stream
    before?.running?.cancel('another stream took its place')
    this.#backoff.worked()
    this.#refusals = 0
    this.#batch *= 2
    const gap = this.#gap
    this.#gap = false
    this.#tell(stream, honoured)
    if (honoured) stream.uris = new Set([...stream.uris].filter(uri => honoured.has(uri)))
    if (gap) this.connection.message(RESOURCES_MAY_HAVE_CHANGED, null)
    this.#soon()
  }

  #tell({ uris }: Stream, honoured: ReadonlySet<string> | null): void {
    for (const uri of uris) {
      const wanted = this.#wanted.get(uri)
      const taken = wanted?.taken
      if (!wanted || !taken) continue
      wanted.taken = null
      if (!honoured || honoured.has(uri)) taken(null)
      else this.#refuse(uri, taken, notTakenUp(this.connection.upstream, uri))
    }
  }

  #refuse(uri: string, taken: (refusal: Outcome | null) => void, outcome: Outcome): void {
    this.#wanted.delete(uri)
    taken(outcome)
  }

  #over(stream: Stream, outcome: Outcome): void {
    if (stream === this.#current) {
      this.#current = null
      this.#gap = true
    } else if (stream === this.#opening) {
      this.#opening = null
      if (outcome.kind === 'answered' && 'error' in outcome.reply) {
        return this.#refused(stream, outcome, outcome.reply.error)
      }
    } else return
    if (!this.connection.isOver && this.#wanted.size > 0) this.#later(outcome)
  }

  /** Of many new URIs perhaps only one is at fault: it is looked for with fewer at a time. */
  #refused(stream: Stream, outcome: Outcome, error: Uint8Array): void {
    const fresh = [...stream.uris].filter(uri => this.#wanted.get(uri)?.taken)
    this.#refusals += 1
    const hopeless =
      this.#refusals >= MAX_REFUSALS || METHOD_NOT_FOUND.test(Buffer.from(error).toString('utf8'))
    if (fresh.length > 1 && !hopeless) {
      this.#batch = Math.ceil(fresh.length / 2)
      return this.#soon()
    }
    const gone = hopeless ? [...this.#wanted.keys()] : fresh
    for (const uri of gone) {
      const taken = this.#wanted.get(uri)?.taken
      if (taken) this.#refuse(uri, taken, outcome)
    }
    // Without a new one among them, what was taken up once is refused now: that may pass.
    if (fresh.length === 0) this.#later(outcome)
    else this.#soon()
  }
}

function notTakenUp(upstream: string, uri: string): Outcome {
  const reason = `it does not take up a subscription to ${uri}`
  const error = new GatewayError('INVALID_PARAMS', `${upstream}: ${reason}.`, {
    upstream,
    reason,
    phase: 'rejected',
  })
  return { kind: 'rejected', error }
}

function sameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every(one => b.has(one))
}
