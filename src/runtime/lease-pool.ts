import { type Bytes, type CallContext, EMPTY_OBJECT, type GatewayError } from '../model/index.js'
import { editObject, member, objectAt } from '../wire/index.js'
import type { Clock, Connection, ConnectionEvents, Connector, Timer } from './ports.js'

/** What a server may ask of a client in the middle of a call. */
const ASKABLE = ['sampling', 'elicitation', 'roots']
const MAX_LEASES = 8
const IDLE_MS = 5 * 60_000

interface Lease {
  connection: Connection | null
  opening: Promise<Connection | null>
  idle: Timer | null
}

/**
 * Sessions for callers that a server may ask questions. The shared session declares no capabilities, so that no server
 * counts on what a caller lacks; a caller that declares some gets a session for just that set, kept warm and shared
 * with others of the same set. Only over HTTP, where a session costs no process and each question says whose call it
 * belongs to.
 */
export class LeasePool {
  readonly #leases = new Map<string, Lease>()
  #stop = new AbortController()

  constructor(
    private readonly connector: Connector,
    private readonly clock: Clock,
    private readonly events: Omit<ConnectionEvents, 'closed' | 'notification'>,
  ) {}

  /** A session that suits the caller: `base` at once where it does, else one that is opened first. */
  acquire(base: Connection, context: CallContext): Connection | Promise<Connection> {
    if (!context.onAsk || base.era !== 'legacy' || base.transport !== 'http') return base
    const declared = askableOf(context.capabilities)
    const key = Buffer.from(declared).toString('utf8')
    const lease = this.#leases.get(key) ?? this.#open(key, declared)
    if (!lease) return base
    this.#keep(key, lease)
    // A server that refuses a second session still serves the call, without questions.
    return lease.connection ?? lease.opening.then(connection => connection ?? base)
  }

  get size(): number {
    return this.#leases.size
  }

  /** Ends every session of the pool; it can be used again afterwards. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#stop = new AbortController()
    const leases = [...this.#leases.values()]
    this.#leases.clear()
    await Promise.allSettled(leases.map(lease => this.#end(lease)))
  }

  destroy(error: GatewayError): void {
    this.#stop.abort()
    this.#stop = new AbortController()
    for (const lease of this.#leases.values()) {
      lease.idle?.cancel()
      lease.connection?.destroy(error)
    }
    this.#leases.clear()
  }

  #open(key: string, declared: Bytes): Lease | null {
    if (this.#leases.size >= MAX_LEASES) return null
    const lease: Lease = { connection: null, opening: Promise.resolve(null), idle: null }
    const forget = () => {
      lease.idle?.cancel()
      if (this.#leases.get(key) === lease) this.#leases.delete(key)
    }
    const events = { ...this.events, closed: forget, notification: () => undefined }
    lease.opening = this.connector.open(events, this.#stop.signal, declared).then(
      connection => {
        lease.connection = connection
        return connection
      },
      () => {
        forget()
        return null
      },
    )
    this.#leases.set(key, lease)
    return lease
  }

  #keep(key: string, lease: Lease): void {
    lease.idle?.cancel()
    lease.idle = this.clock.after(IDLE_MS, () => {
      if (lease.connection && lease.connection.inFlight > 0) return this.#keep(key, lease)
      this.#leases.delete(key)
      void this.#end(lease)
    })
  }

  async #end(lease: Lease): Promise<void> {
    lease.idle?.cancel()
    const connection = await lease.opening
    await connection?.close()
  }
}

/** Of what a client declared, the part that a server can ask for. */
function askableOf(capabilities: Bytes): Bytes {
  const declared = objectAt(capabilities)
  const dropped = declared.members.filter(({ key }) => !ASKABLE.includes(key))
  const edits = new Map<string, Bytes | null>(dropped.map(({ key }) => [key, null]))
  // Changed roots are not told to servers.
  if (member(declared, 'roots')) edits.set('roots', EMPTY_OBJECT)
  return editObject(declared, edits)
}
