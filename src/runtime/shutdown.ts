import type { Runtime } from './gateway.js'
import type { Clock } from './ports.js'

/** Of the time for a stop, what is kept for ending children and sockets after the calls. */
const LADDER_MS = 6_000
/** Whoever still waits is told in the same turn; this is for a fault of ours. */
const ANSWER_MS = 100
/** How long a client has for reading what was written to it. */
const FLUSH_MS = 5_000
const LAST_FLUSH_MS = 250

/** What a stop ends, besides the servers. */
export interface ShutdownParts {
  readonly clock: Clock
  readonly runtime: Pick<Runtime, 'drained' | 'stop' | 'kill'>
  /** The most that a stop may take. */
  readonly timeoutMs: number
  /** No new connections from now on. Resolves when every answer has left and the last connection is gone. */
  closeDoor(): Promise<void>
  /** Ends sessions, streams and subscriptions of clients. */
  endFaces(): void
  /** Drops every connection that is left. */
  dropConnections(): void
  /** Lets go of what the machine keeps for us. */
  release(): Promise<void>
  warn(upstream: string | null, message: string): void
}

/**
 * The end of the gateway. First what is under way may finish; then each caller that still waits gets one answer, servers
 * are ended side by side, and only when the answers have left are the connections closed.
 */
export class Shutdown {
  #closing: Promise<void> | null = null
  #killing: Promise<void> | null = null
  #door: Promise<void> | null = null

  constructor(private readonly parts: ShutdownParts) {}

  get begun(): boolean {
    return this.#closing !== null || this.#killing !== null
  }

  /** Idempotent; a second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Everything at once: no time for calls, no ladder for children. Idempotent. */
  kill(): Promise<void> {
    this.#killing ??= this.#kill()
    return this.#killing
  }

  async #close(): Promise<void> {
    const { parts } = this
    const { clock, runtime } = parts
    const until = clock.now() + parts.timeoutMs
    void this.#closeDoor()
    await runtime.drained(Math.max(0, parts.timeoutMs - LADDER_MS))
    const stopped = runtime.stop()
    await runtime.drained(ANSWER_MS)
    parts.endFaces()
    const failures = await within(clock, stopped, until - clock.now())
    if (failures === LATE) {
      parts.warn(null, `The stop took longer than ${parts.timeoutMs} ms; what was left is ended at once.`)
      return this.kill()
    }
    for (const { upstream, reason } of failures) parts.warn(upstream, `It could not be stopped: ${reason}`)
    const left = Math.max(until - clock.now(), LAST_FLUSH_MS)
    await this.#leave(Math.min(FLUSH_MS, left))
  }

  async #kill(): Promise<void> {
    const { parts } = this
    void this.#closeDoor()
    parts.runtime.kill()
    await parts.runtime.drained(ANSWER_MS)
    parts.endFaces()
    await this.#leave(LAST_FLUSH_MS)
  }

  async #leave(flushMs: number): Promise<void> {
    await within(this.parts.clock, this.#closeDoor(), flushMs)
    this.parts.dropConnections()
    await this.parts.release()
  }

  #closeDoor(): Promise<void> {
    this.#door ??= this.parts.closeDoor()
    return this.#door
  }
}

const LATE = Symbol('late')

function within<T>(clock: Clock, work: Promise<T>, ms: number): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => resolve(LATE))
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}
