import type {
  Dialer,
  HttpExchange,
  HttpFault,
  HttpHandler,
  HttpPool,
  HttpRequest,
} from '../../src/runtime/ports.js'
import type { Dice } from './dice.js'
import { noncesIn } from './models/app.js'
import type { Machine } from './virtual-host.js'

export interface SiteRequest {
  readonly method: HttpRequest['method']
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The server's side of one exchange. Everything after its end is dropped. */
export interface SiteAnswer {
  readonly open: boolean
  headers(status: number, headers?: Readonly<Record<string, string>>): void
  data(text: string): void
  /** @param arrived told when the whole answer has arrived at the client */
  end(arrived?: () => void): void
  /** The connection breaks off, at the server's side. */
  reset(): void
  /** The client went away before the end. */
  onGone(fn: () => void): void
}

/** What listens at one origin. */
export interface Site {
  /** `hole` = packets are swallowed. */
  readonly door: 'open' | 'closed' | 'hole'
  serve(request: SiteRequest, answer: SiteAnswer): void
}

/** Who listens where, and every exchange under way. */
export class Network {
  readonly sites = new Map<string, Site>()
  readonly #exchanges = new Map<string, Set<VirtualExchange>>()

  under(origin: string): Set<VirtualExchange> {
    const known = this.#exchanges.get(origin)
    if (known) return known
    const fresh = new Set<VirtualExchange>()
    this.#exchanges.set(origin, fresh)
    return fresh
  }

  /** Every connection to a site breaks. */
  cut(origin: string): void {
    for (const exchange of [...this.under(origin)]) exchange.broken('reset')
  }
}

export function createVirtualDialer(machine: Machine): Dialer {
  const dice = machine.world.dice('dialer')
  return { pool: (origin, { connectTimeoutMs }) => new VirtualPool(machine, dice, origin, connectTimeoutMs) }
}

class VirtualPool implements HttpPool {
  /** Connections that stand and wait for a request. */
  idle = 0
  readonly running = new Set<VirtualExchange>()
  #destroyed = false

  constructor(
    readonly machine: Machine,
    readonly dice: Dice,
    readonly origin: string,
    readonly connectTimeoutMs: number,
  ) {
    machine.ledger.pools.add(this)
  }

  /** The server at the origin, as the fleet calls it. */
  get upstream(): string {
    return new URL(this.origin).hostname.split('.')[0] ?? ''
  }

  request(request: HttpRequest, handler: HttpHandler): HttpExchange {
    this.machine.ledger.dials += 1
    const exchange = new VirtualExchange(this, request, handler)
    if (this.#destroyed) exchange.broken('aborted')
    else exchange.connect()
    return exchange
  }

  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.machine.ledger.pools.delete(this)
    for (const exchange of [...this.running]) exchange.broken('aborted')
  }
}

const WORDS: Readonly<Record<string, string>> = {
  refused: 'connection refused by',
  'connect-timeout': 'no connection in time to',
  'headers-timeout': 'no answer in time from',
  reset: 'connection reset by',
  aborted: 'the gateway closed its connections to',
}

class VirtualExchange implements HttpExchange {
  #over = false
  #aborted = false
  /** The request was given to a connection: its bytes may have arrived. */
  #sent = false
  #headersSeen = false
  #lastAt = 0
  #gone: (() => void) | null = null

  constructor(
    private readonly pool: VirtualPool,
    private readonly request: HttpRequest,
    private readonly handler: HttpHandler,
  ) {
    pool.running.add(this)
    pool.machine.network.under(pool.origin).add(this)
    pool.machine.ledger.exchanges.add(this)
  }

  connect(): void {
    const { world, ledger, network } = this.pool.machine
    const door = network.sites.get(this.pool.origin)?.door ?? 'closed'
    if (ledger.operate('dial', this.pool.upstream) || door === 'closed') {
      this.pool.idle = 0
      world.after(this.pool.dice.between(1, 5), () => this.broken('refused'))
      return
    }
    if (this.pool.idle > 0) {
      this.pool.idle -= 1
      return this.#send()
    }
    if (door === 'hole') {
      world.after(this.pool.connectTimeoutMs, () => this.broken('connect-timeout'))
      return
    }
    world.after(this.pool.dice.between(1, 8), () => {
      if (!this.#over) this.#send()
    })
  }

  abort(): void {
    this.#aborted = true
    if (this.#over) return
    this.#end()
    this.#leave()
  }

  /** The exchange fails; told in a later turn, as by a real socket. */
  broken(reason: HttpFault['reason']): void {
    if (this.#over) return
    this.#end()
    this.#leave()
    const phase = this.#sent ? 'unknown' : 'never-sent'
    const message = `${WORDS[reason] ?? reason} ${new URL(this.pool.origin).host}`
    queueMicrotask(() => {
      if (!this.#aborted) this.handler.fault({ phase, reason, message })
    })
  }

  #end(): void {
    this.#over = true
    this.pool.running.delete(this)
    this.pool.machine.network.under(this.pool.origin).delete(this)
    this.pool.machine.ledger.exchanges.delete(this)
  }

  /** The server sees the connection close, a moment later. */
  #leave(): void {
    const { world } = this.pool.machine
    world.after(this.pool.dice.between(1, 4), () => this.#gone?.())
  }

  #send(): void {
    this.#sent = true
    const { world, network } = this.pool.machine
    const { headersTimeoutMs, body } = this.request
    const { upstream } = this.pool
    if (body) for (const nonce of noncesIn(body)) world.note({ kind: 'handed', upstream, nonce })
    if (headersTimeoutMs > 0) {
      world.after(headersTimeoutMs, () => {
        if (!this.#headersSeen) this.broken('headers-timeout')
      })
    }
    world.after(this.pool.dice.between(1, 5), () => {
      const site = network.sites.get(this.pool.origin)
      // Dropped before it was given to the server: a close that overtakes nothing.
      if (this.#over) return
      if (!site || site.door === 'closed') return this.broken('reset')
      if (site.door === 'hole') return
      const { method, headers, body } = this.request
      site.serve(
        { method, headers, body: body ? Buffer.from(body).toString('utf8') : '' },
        this.#serverSide(),
      )
    })
  }

  #serverSide(): SiteAnswer {
    let ended = false
    const exchange = this
    const unlessEnded = (fn: () => void) => {
      if (!ended && !this.#over) fn()
    }
    return {
      get open() {
        return !ended && !exchange.#over
      },
      headers: (status, headers = {}) =>
        unlessEnded(() =>
          this.#ordered(() => {
            this.#headersSeen = true
            this.handler.headers(status, headers)
          }),
        ),
      data: text => unlessEnded(() => this.#deliver(Buffer.from(text))),
      end: arrived =>
        unlessEnded(() => {
          ended = true
          this.#ordered(() => {
            this.#finish()
            arrived?.()
          })
        }),
      reset: () =>
        unlessEnded(() => {
          ended = true
          this.#ordered(() => this.broken('reset'))
        }),
      onGone: fn => {
        this.#gone = () => {
          if (!ended) fn()
        }
      },
    }
  }

  #finish(): void {
    this.#end()
    this.pool.idle += 1
    this.handler.end()
  }

  #deliver(bytes: Buffer): void {
    const { dice } = this.pool
    const most = dice.chance(0.7) ? bytes.length : Math.max(1, Math.ceil(bytes.length / 3))
    for (let at = 0; at < bytes.length; ) {
      const chunk = bytes.subarray(at, at + dice.between(Math.min(most, 1 + (most >> 1)), most))
      at += chunk.length
      this.#ordered(() => {
        if (this.pool.machine.ledger.operate('read from a socket', this.pool.upstream)) this.broken('reset')
        else this.handler.data(chunk)
      })
    }
  }

  #ordered(fn: () => void): void {
    const { world } = this.pool.machine
    this.#lastAt = Math.max(this.#lastAt, world.now + this.pool.dice.between(1, 4))
    world.after(this.#lastAt - world.now, () => {
      if (!this.#over) fn()
    })
  }
}
