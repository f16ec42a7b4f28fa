import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Fake, ServerEntry } from './fake-mcp.js'

/** `up` = from the client to the server, `down` = from the server to the client. */
export type Direction = 'up' | 'down'

/** What is wrong with one direction, in toxiproxy's words. They add up. */
export interface Toxics {
  readonly latency?: { readonly ms: number; readonly jitter?: number }
  readonly bandwidth?: { readonly bytesPerSecond: number }
  /** The end of the connection is passed on so much later. */
  readonly slowClose?: { readonly ms: number }
  /** A black hole: nothing passes, not even an end; after `ms`, where given, the connection is closed. */
  readonly timeout?: { readonly ms?: number }
  /** A TCP reset for the receiver: at once, or `ms` after the connection was opened or this was set. */
  readonly reset?: { readonly ms?: number }
  /** Pieces of about so many bytes, each a write of its own. */
  readonly slicer?: { readonly bytes: number; readonly variation?: number; readonly delayMs?: number }
  /** A clean end after so many bytes, counted from when this was set. */
  readonly limitData?: { readonly bytes: number }
}

export interface ToxicCounts {
  /** Accepted so far. */
  readonly connections: number
  /** Of those, not closed yet. */
  readonly open: number
  /** Bytes passed on. */
  readonly bytes: Readonly<Record<Direction, number>>
}

const HIGH_WATER = 1024 * 1024
/** A throttled direction writes this often. */
const TICK_MS = 50

/** A TCP proxy whose every direction can be spoiled while it runs. */
export class Toxic {
  readonly #links = new Set<Link>()
  readonly #toxics: Record<Direction, Toxics> = { up: {}, down: {} }
  readonly #bytes: Record<Direction, number> = { up: 0, down: 0 }
  #change = new AbortController()
  #server: Server | null = null
  #port = 0
  #connections = 0

  constructor(
    private readonly fake: Pick<Fake, 'transport' | 'url'>,
    private readonly random: () => number,
  ) {}

  get port(): number {
    return this.#port
  }

  /** The address of the fake, by way of this proxy. */
  get url(): string {
    const url = new URL(this.fake.url ?? '')
    url.port = String(this.#port)
    return url.href
  }

  /** What to write under its name in `mcpServers`. */
  get entry(): ServerEntry {
    return { type: this.fake.transport, url: this.url }
  }

  get counts(): ToxicCounts {
    return { connections: this.#connections, open: this.#links.size, bytes: { ...this.#bytes } }
  }

  /** Replaces everything that is wrong with a direction, for living connections too. */
  set(direction: Direction, toxics: Toxics): void {
    const wasHole = this.#toxics[direction].timeout !== undefined
    this.#toxics[direction] = toxics
    this.#changed(direction, wasHole && toxics.timeout === undefined)
  }

  /** Adds to what is wrong with a direction. */
  add(direction: Direction, part: Toxics): void {
    this.set(direction, { ...this.#toxics[direction], ...part })
  }

  /** Nothing is wrong any more; connections that lost bytes in a black hole are dropped, as they cannot go on. */
  clear(direction?: Direction): void {
    for (const each of direction ? [direction] : (['up', 'down'] as const)) this.set(each, {})
  }

  /** Refuses new connections; living ones are dropped unless they are to be kept. */
  down(options: { readonly existing?: 'drop' | 'keep' } = {}): void {
    this.#server?.close()
    this.#server = null
    if (options.existing !== 'keep') this.drop()
  }

  /** Listens again, on the same port. */
  async up(): Promise<void> {
    if (this.#server) return
    const server = createServer({ allowHalfOpen: true }, near => this.#accept(near))
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
  }

  /** Drops all living connections. */
  drop(): void {
    for (const link of [...this.#links]) link.destroy()
  }

  close(): void {
    this.down()
  }

  #accept(near: Socket): void {
    this.#connections++
    const far = connect({
      port: Number(new URL(this.fake.url ?? '').port),
      host: '127.0.0.1',
      allowHalfOpen: true,
    })
    const link = new Link(near, far, {
      toxics: direction => this.#toxics[direction],
      change: () => this.#change.signal,
      carried: (direction, bytes) => {
        this.#bytes[direction] += bytes
      },
      random: this.random,
      over: () => this.#links.delete(link),
    })
    this.#links.add(link)
    for (const direction of ['up', 'down'] as const) link.changed(direction, false)
  }

  #changed(direction: Direction, holeIsGone: boolean): void {
    const before = this.#change
    this.#change = new AbortController()
    before.abort()
    for (const link of [...this.#links]) link.changed(direction, holeIsGone)
  }
}

interface Surroundings {
  toxics(direction: Direction): Toxics
  /** Aborted at the next change of any toxic. */
  change(): AbortSignal
  carried(direction: Direction, bytes: number): void
  random(): number
  over(): void
}

/** One proxied connection. */
class Link {
  readonly #lanes: Readonly<Record<Direction, Lane>>
  readonly #end = new AbortController()
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(
    readonly near: Socket,
    readonly far: Socket,
    readonly around: Surroundings,
  ) {
    this.#lanes = { up: new Lane(this, 'up', near, far), down: new Lane(this, 'down', far, near) }
    for (const socket of [near, far]) {
      socket.setNoDelay(true)
      socket.on('close', () => {
        if (near.destroyed && far.destroyed) this.destroy()
      })
    }
  }

  get ended(): AbortSignal {
    return this.#end.signal
  }

  changed(direction: Direction, holeIsGone: boolean): void {
    if (holeIsGone && this.#lanes[direction].lostBytes) return this.destroy()
    const { timeout, reset } = this.around.toxics(direction)
    this.#arm(`${direction} timeout`, timeout?.ms, () => this.destroy())
    this.#arm(`${direction} reset`, reset && (reset.ms ?? 0), () => this.reset(direction))
    this.#lanes[direction].changed()
  }

  /** The receiver of that direction sees a reset, the other side an end. */
  reset(direction: Direction): void {
    const [to, from] = direction === 'down' ? [this.near, this.far] : [this.far, this.near]
    to.resetAndDestroy()
    from.destroy()
  }

  destroy(): void {
    if (this.#end.signal.aborted) return
    this.#end.abort()
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.near.destroy()
    this.far.destroy()
    this.around.over()
  }

  /** Resolves after that time, or earlier when a toxic changes or the connection ends. */
  async pause(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.ended, this.around.change()])
    await delay(ms, undefined, { signal }).catch(() => {})
  }

  #arm(name: string, ms: number | undefined, run: () => void): void {
    clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
    if (ms !== undefined) this.#timers.set(name, setTimeout(run, ms))
  }
}

/** One direction of one connection: takes chunks as they come and passes them on as the toxics allow. */
class Lane {
  #queue: { readonly bytes: Buffer; readonly at: number }[] = []
  #queued = 0
  #sourceEnded = false
  #busy = false
  /** Bytes left of `limitData`; null = no limit. */
  #allowance: number | null = null
  lostBytes = false

  constructor(
    private readonly link: Link,
    private readonly direction: Direction,
    private readonly from: Socket,
    private readonly to: Socket,
  ) {
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.on('end', () => this.#endOfSource())
    from.on('error', () => {
      if (!this.#toxics.timeout) to.resetAndDestroy()
    })
    from.on('close', () => this.#endOfSource())
    to.on('error', () => {})
  }

  get #toxics(): Toxics {
    return this.link.around.toxics(this.direction)
  }

  changed(): void {
    this.#allowance = this.#toxics.limitData?.bytes ?? null
    void this.#run()
  }

  #take(bytes: Buffer): void {
    this.#queue.push({ bytes, at: performance.now() })
    this.#queued += bytes.length
    if (this.#queued > HIGH_WATER) this.from.pause()
    void this.#run()
  }

  #endOfSource(): void {
    this.#sourceEnded = true
    void this.#run()
  }

  async #run(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    for (let item = this.#queue.shift(); item && !this.link.ended.aborted; item = this.#queue.shift()) {
      await this.#carry(item.bytes, item.at)
      this.#queued -= item.bytes.length
      if (this.#queued <= HIGH_WATER) this.from.resume()
    }
    if (this.#sourceEnded && !this.link.ended.aborted) await this.#passEnd()
    this.#busy = false
    // Something may have come while the end was being held back.
    if (this.#queue.length > 0) void this.#run()
  }

  async #carry(bytes: Buffer, at: number): Promise<void> {
    const { latency } = this.#toxics
    if (latency) {
      const jitter = (this.link.around.random() * 2 - 1) * (latency.jitter ?? 0)
      const left = at + latency.ms + jitter - performance.now()
      if (left > 0) await this.link.pause(left)
    }
    for (let start = 0; start < bytes.length; ) {
      // Looked at anew for each piece: a change counts at once.
      if (this.#toxics.timeout) {
        this.lostBytes = true
        return
      }
      const piece = bytes.subarray(start, start + this.#pieceSize())
      start += piece.length
      if (!(await this.#write(piece))) return
      await this.#rest(piece.length, start < bytes.length)
    }
  }

  #pieceSize(): number {
    const { slicer, bandwidth } = this.#toxics
    const slice = slicer
      ? Math.round(slicer.bytes + (this.link.around.random() * 2 - 1) * (slicer.variation ?? 0))
      : Number.POSITIVE_INFINITY
    const budget = bandwidth
      ? Math.ceil((bandwidth.bytesPerSecond * TICK_MS) / 1_000)
      : Number.POSITIVE_INFINITY
    return Math.max(1, Math.min(slice, budget, HIGH_WATER))
  }

  async #rest(written: number, more: boolean): Promise<void> {
    const { slicer, bandwidth } = this.#toxics
    if (bandwidth) await this.link.pause((written * 1_000) / bandwidth.bytesPerSecond)
    if (!slicer || !more) return
    if (slicer.delayMs) await this.link.pause(slicer.delayMs)
    // Two writes of one turn could leave in one packet.
    else await new Promise(setImmediate)
  }

  /** False when the connection is over. */
  async #write(piece: Buffer): Promise<boolean> {
    const allowed = this.#allowance === null ? piece : piece.subarray(0, this.#allowance)
    if (this.#allowance !== null) this.#allowance -= allowed.length
    if (this.link.ended.aborted || this.to.destroyed || this.to.writableEnded) return false
    this.link.around.carried(this.direction, allowed.length)
    const roomy = allowed.length === 0 || this.to.write(allowed)
    if (this.#allowance === 0) {
      this.to.end()
      this.from.destroy()
      return false
    }
    if (!roomy) await once(this.to, 'drain', { signal: this.link.ended }).catch(() => {})
    return true
  }

  async #passEnd(): Promise<void> {
    while (this.#toxics.timeout && !this.link.ended.aborted) await this.link.pause(2 ** 30)
    const { slowClose } = this.#toxics
    if (slowClose) await this.link.pause(slowClose.ms)
    if (this.to.destroyed) return
    this.to.end()
    // Nobody is left to hear what the receiver still says.
    if (this.from.destroyed) this.to.destroySoon()
  }
}

/**
 * A proxy before a network fake: give its `entry` to the gateway.
 * @param random uniform in [0, 1), for jitter and slices
 */
export async function openToxic(
  fake: Pick<Fake, 'transport' | 'url'>,
  random: () => number = Math.random,
): Promise<Toxic> {
  const proxy = new Toxic(fake, random)
  await proxy.up()
  return proxy
}
