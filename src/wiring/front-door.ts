import type { GatewaySettings } from '../config/index.js'
import { sameValue } from '../core/reload/index.js'
import { GatewayError, isGatewayError } from '../model/index.js'
import type { Listener } from '../server.js'
import type { ReadyChange } from './reloader.js'

/** What was wished when it was opened; it overrides `holdfast.listen`, also in later configurations. */
export interface Address {
  readonly host?: string
  readonly port?: number
}

export interface FrontDoorParts {
  /** Opens a listening socket. */
  listen(address: Required<Address>): Promise<Listener>
  /** Says where the gateway is found. Returns the way to take that back. */
  publish(listener: Listener): () => void
  /** The gateway stops, or has stopped. */
  readonly isOver: boolean
}

/** Where clients come in: one listening socket, or none. */
export class FrontDoor {
  #listener: Listener | null = null
  /** Closed for new clients; they end with the answers that they owe. */
  readonly #left = new Set<Listener>()
  #wish: Address = {}
  /** As it was asked for: port 0 stays 0. */
  #address: Required<Address> | null = null
  #withdraw = (): void => undefined

  constructor(private readonly parts: FrontDoorParts) {}

  /** Null where nothing listens. */
  get listener(): Listener | null {
    return this.#listener
  }

  /** @throws GatewayError when it is open already, the gateway was stopped, or the address must not or cannot be opened */
  async open(settings: GatewaySettings, wish: Address): Promise<Listener> {
    this.#refuseSecond()
    const address = addressOf(settings, wish)
    const opened = await this.#bind(address, settings)
    if (this.parts.isOver) await opened.close()
    this.#refuseSecond()
    this.#wish = wish
    this.#enter(opened, address)
    return opened
  }

  /**
   * Opens the address of other settings beside the one that is open.
   * @throws GatewayError when it cannot be opened
   */
  async prepare(now: GatewaySettings, wanted: GatewaySettings): Promise<ReadyChange> {
    const old = this.#listener
    const to = addressOf(wanted, this.#wish)
    if (!old || sameValue(this.#address, to)) {
      const isOverridden = (['host', 'port'] as const).some(
        key => this.#wish[key] !== undefined && now.listen[key] !== wanted.listen[key],
      )
      return nothing(isOverridden ? ['holdfast.listen: what the gateway was started with decides'] : [])
    }
    let opened: Listener
    try {
      opened = await this.#bind(to, wanted)
    } catch (thrown) {
      // Its own socket may be in the way: of two names of one address only one can be open.
      if (!isGatewayError(thrown) || to.port !== old.port || !isTaken(thrown)) throw thrown
      return nothing([
        `holdfast.listen: ${to.host}:${to.port} is not free while ${old.url} is open; it changes with a restart of the gateway only`,
      ])
    }
    return {
      warnings: [],
      commit: () => this.#move(old, opened, to),
      abort: () => void opened.close(),
    }
  }

  close(): Promise<unknown> {
    this.#withdraw()
    return Promise.all([this.#listener?.close(), ...[...this.#left].map(left => left.close())])
  }

  destroy(): void {
    this.#listener?.destroy()
    for (const left of this.#left) left.destroy()
  }

  #move(old: Listener, opened: Listener, address: Required<Address>): void {
    if (this.parts.isOver) return void opened.close()
    this.#withdraw()
    this.#left.add(old)
    void old.close().then(() => this.#left.delete(old))
    this.#enter(opened, address)
  }

  #enter(opened: Listener, address: Required<Address>): void {
    this.#listener = opened
    this.#address = address
    this.#withdraw = this.parts.publish(opened)
  }

  async #bind(address: Required<Address>, settings: GatewaySettings): Promise<Listener> {
    refuseOpenListener(address.host, settings)
    return await this.parts.listen(address)
  }

  #refuseSecond(): void {
    if (this.parts.isOver)
      throw new GatewayError('UPSTREAM_REMOVED', 'The gateway was stopped; make a new one.')
    if (this.#listener)
      throw new GatewayError('MISCONFIGURED', `The gateway listens on ${this.#listener.url} already.`)
  }
}

function addressOf({ listen }: GatewaySettings, wish: Address): Required<Address> {
  return { host: wish.host ?? listen.host, port: wish.port ?? listen.port }
}

function nothing(warnings: readonly string[]): ReadyChange {
  return { warnings, commit: () => undefined, abort: () => undefined }
}

function isTaken(error: GatewayError): boolean {
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE'
}

/** Without inbound authentication, an address that others can reach is never opened. */
function refuseOpenListener(host: string, { auth }: GatewaySettings): void {
  if (auth.mode !== 'none' || isLoopback(host)) return
  throw new GatewayError(
    'MISCONFIGURED',
    `Refusing to listen on ${host}: anyone who can reach it could use every server. Listen on 127.0.0.1, and put an authenticating proxy in front for access from elsewhere.`,
  )
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
