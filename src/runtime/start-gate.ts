import { LIMITS, type UpstreamSpec } from '../model/index.js'
import type { Clock, Connection, Connector, ConnectorFactory, Host, Timer } from './ports.js'

/**
 * How long one start may keep others from beginning. What loads a machine is over by then; a server that hangs, or
 * downloads itself first, must not hold up the others.
 */
export const START_TURN_MS = 1_000

export interface GateOptions {
  readonly host: Host
  /** Somebody waits because of the limit of all children; told once for each wait. */
  readonly full: (upstream: string) => void
  readonly starting?: number
  readonly children?: number
}

interface Waiting {
  readonly upstream: string
  readonly begin: () => void
  told: boolean
}

/**
 * Lets child processes be started: a few at a time, a bounded number in all, in the order of asking, and none before
 * what an earlier gateway left behind is gone. Whoever waits here is starting for everybody else, and its own time for
 * the start has not begun.
 */
export class StartGate {
  readonly #queue: Waiting[] = []
  readonly #clock: Clock
  readonly #starting: number
  readonly #children: number
  #inTurn = 0
  #ready = false
  #preparing = false

  constructor(private readonly options: GateOptions) {
    this.#clock = options.host.clock
    this.#starting = options.starting ?? LIMITS.startingChildren
    this.#children = options.children ?? LIMITS.children
    options.host.spawner.onEnded?.(() => this.#admit())
  }

  /** The same connectors, with the starts of children behind the gate. */
  guard(connectors: ConnectorFactory): ConnectorFactory {
    return spec => {
      const connector = connectors(spec)
      return spec.transport.kind === 'stdio' ? this.#guarded(spec, connector) : connector
    }
  }

  #guarded({ name }: UpstreamSpec, connector: Connector): Connector {
    return {
      open: (events, signal, capabilities) =>
        this.#enter(name, signal, () => connector.open(events, signal, capabilities)),
    }
  }

  #enter(upstream: string, signal: AbortSignal, open: () => Promise<Connection>): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1)
        reject(signal.reason)
      }
      const waiting: Waiting = {
        upstream,
        told: false,
        begin: () => {
          signal.removeEventListener('abort', leave)
          resolve(this.#takeTurn(open))
        },
      }
      if (signal.aborted) return reject(signal.reason)
      signal.addEventListener('abort', leave, { once: true })
      this.#queue.push(waiting)
      this.#prepare()
      this.#admit()
    })
  }

  #takeTurn(open: () => Promise<Connection>): Promise<Connection> {
    this.#inTurn += 1
    let timer: Timer | null = null
    const end = () => {
      if (!timer) return
      timer.cancel()
      timer = null
      this.#inTurn -= 1
      this.#admit()
    }
    timer = this.#clock.after(START_TURN_MS, end)
    return open().finally(end)
  }

  #prepare(): void {
    if (this.#preparing) return
    this.#preparing = true
    const open = () => {
      this.#ready = true
      this.#admit()
    }
    const { host } = this.options
    if (host.endLeftovers) void host.endLeftovers().then(open)
    else open()
  }

  #admit(): void {
    while (this.#ready && this.#inTurn < this.#starting) {
      const [first] = this.#queue
      if (!first) return
      // The process is there when `begin` returns, so the next look counts it.
      if ((this.options.host.spawner.living ?? 0) >= this.#children) return this.#tellFull()
      this.#queue.shift()
      first.begin()
    }
  }

  #tellFull(): void {
    for (const waiting of this.#queue) {
      if (!waiting.told) this.options.full(waiting.upstream)
      waiting.told = true
    }
  }
}
