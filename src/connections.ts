import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError, LIMITS } from './model/index.js'

/** Of the descriptors, what connections of clients may take. */
const DESCRIPTOR_SHARE = 0.75

/** @param fdLimit null where the machine does not tell */
export function connectionsFor(fdLimit: number | null): number {
  return Math.min(LIMITS.connections, Math.floor((fdLimit ?? Number.POSITIVE_INFINITY) * DESCRIPTOR_SHARE))
}

/** A connection without a request may go for a new one only after this time. */
const GRACE_MS = 1_000

/**
 * Counts the connections. When there are too many, the oldest that never sent a request has to go; where all of them did,
 * a few more are let in, and only to health and status: those must answer whatever the others do.
 */
export class Door {
  readonly #open = new Set<Socket>()
  /** Connections that have sent no request yet and when they came, oldest first. */
  readonly #fresh = new Map<Socket, number>()
  readonly #spare = new Set<Socket>()

  constructor(
    private readonly max: number,
    private readonly random: () => number,
  ) {}

  get connections(): number {
    return this.#open.size
  }

  /** Every connection that is open now. */
  get open(): Iterable<Socket> {
    return this.#open
  }

  enter(socket: Socket): void {
    const now = performance.now()
    this.#open.add(socket)
    socket.once('close', () => this.#leave(socket))
    if (this.#open.size > this.max) this.#makeRoom(now)
    if (this.#open.size > this.max + LIMITS.spareConnections) return this.#dismiss(socket)
    this.#fresh.set(socket, now)
    if (this.#open.size > this.max) this.#spare.add(socket)
  }

  /**
   * Why a request is refused; null when it may go on.
   * @param work it asks for more than health or status
   */
  refuses(req: IncomingMessage, res: ServerResponse, work: () => boolean): GatewayError | null {
    if (this.#fresh.size > 0) this.#fresh.delete(req.socket)
    if (this.#spare.size === 0 || !this.#spare.has(req.socket)) return null
    res.setHeader('connection', 'close')
    if (!work()) return null
    const retryAfterMs = 1_000 + this.random() * 4_000
    const message = `${this.max} connections are open already; nothing was done. Close some, or try again in a moment.`
    return new GatewayError('OVERLOADED', message, { reason: 'too many connections', retryAfterMs })
  }

  #makeRoom(now: number): void {
    const [oldest] = this.#fresh
    if (!oldest) return
    const [socket, since] = oldest
    const isPatienceOver = now - since >= GRACE_MS || this.#open.size > this.max + LIMITS.spareConnections
    if (isPatienceOver) this.#dismiss(socket)
  }

  #dismiss(socket: Socket): void {
    this.#leave(socket)
    socket.destroy()
  }

  #leave(socket: Socket): void {
    this.#open.delete(socket)
    this.#fresh.delete(socket)
    this.#spare.delete(socket)
  }
}

const OWED = Symbol('answers that are owed')

/** With pipelining there may be several. */
interface Owing extends Socket {
  [OWED]?: ServerResponse[]
}

/**
 * Knows which connections owe an answer, so that the end of the server cuts none off. It is written down at the
 * connection: a table of all answers would change with each request, which a Map is bad at.
 */
export class OwedAnswers {
  /** One listener for all: each request adds it. */
  readonly #closed: (this: ServerResponse) => void
  #closing = false

  constructor(
    private readonly server: Server,
    private readonly door: Door,
    handler: (req: IncomingMessage, res: ServerResponse) => void,
  ) {
    const left = (res: ServerResponse) => this.#left(res)
    this.#closed = function () {
      left(this)
    }
    server.on('request', (req, res) => {
      this.#track(req, res)
      handler(req, res)
    })
    // Node takes an answer for done that was handed over and has not left yet, and would cut it off.
    server.closeIdleConnections = () => undefined
  }

  /** No new connections, and none is kept beyond the answers that it owes. Resolves when the last one is gone. */
  close(): Promise<void> {
    this.#closing = true
    for (const socket of this.door.open) {
      const owed = (socket as Owing)[OWED] ?? []
      for (const res of owed) announceEnd(res)
      if (owed.length === 0) socket.destroySoon()
    }
    return new Promise(resolve => this.server.close(() => resolve()))
  }

  #track({ socket }: IncomingMessage, res: ServerResponse): void {
    const owing: Owing = socket
    owing[OWED] ??= []
    owing[OWED].push(res)
    if (this.#closing) announceEnd(res)
    res.on('close', this.#closed)
  }

  #left(res: ServerResponse): void {
    const { socket } = res.req
    const owed = (socket as Owing)[OWED] ?? []
    const at = owed.indexOf(res)
    if (at >= 0) owed.splice(at, 1)
    if (this.#closing && owed.length === 0) socket.destroySoon()
  }
}

function announceEnd(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('connection', 'close')
}
