import { LIMITS } from '../../model/index.js'
import type { Clock, Timer } from '../../runtime/ports.js'

/** What waits for one client, or is kept for one. */
export interface Backlog {
  readonly bytes: number
  /** Milliseconds since the client last took something; looking may end the backlog. */
  stalledFor(now: number): number
  /** Gives it up, and calls `remove`. */
  cut(): void
}

export interface BufferBounds {
  /** Bytes for all clients together. */
  readonly totalBytes: number
  readonly stalledMs: number
}

export const BUFFER_BOUNDS: BufferBounds = {
  totalBytes: LIMITS.clientBuffersBytes,
  stalledMs: LIMITS.clientStalledMs,
}

/** Of the heap, what may wait for clients. */
const HEAP_SHARE = 0.25

export function boundsFor(heapLimitBytes: number): BufferBounds {
  return { ...BUFFER_BOUNDS, totalBytes: Math.min(BUFFER_BOUNDS.totalBytes, heapLimitBytes * HEAP_SHARE) }
}

/** A timer that is later than this says more about us than about the clients. */
const OWN_LAG_MS = 1_000

/**
 * What waits for all clients that read too slowly. A client that keeps up never comes here. Who takes nothing for too long
 * is cut off, and the largest first when all together are too much. One timer for all.
 */
export class ClientBuffers {
  readonly #backlogs = new Set<Backlog>()
  #bytes = 0
  #timer: Timer | null = null

  constructor(
    readonly clock: Clock,
    private readonly bounds: BufferBounds = BUFFER_BOUNDS,
  ) {}

  get bytes(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#backlogs.size
  }

  /** Idempotent. */
  add(backlog: Backlog): void {
    this.#backlogs.add(backlog)
    if (!this.#timer) this.#arm(this.bounds.stalledMs)
  }

  /** Its bytes must have been taken off already. Idempotent. */
  remove(backlog: Backlog): void {
    this.#backlogs.delete(backlog)
    if (this.#backlogs.size > 0) return
    this.#timer?.cancel()
    this.#timer = null
  }

  /** The bytes of one backlog changed; it may be cut before this returns. */
  changed(by: number): void {
    this.#bytes += by
    while (by > 0 && this.#bytes > this.bounds.totalBytes && this.cutLargest());
  }

  /** @returns false when nothing waits for anybody */
  cutLargest(): boolean {
    let largest: Backlog | null = null
    for (const backlog of this.#backlogs) {
      if (backlog.bytes > 0 && (!largest || backlog.bytes > largest.bytes)) largest = backlog
    }
    largest?.cut()
    return largest !== null
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#backlogs.clear()
    this.#bytes = 0
  }

  #arm(ms: number): void {
    const due = this.clock.now() + ms
    this.#timer = this.clock.after(ms, () => this.#tick(due))
  }

  #tick(due: number): void {
    this.#timer = null
    const now = this.clock.now()
    // Stopped for a while, we could not see what the clients took: they get the time once more.
    const isLate = now - due > OWN_LAG_MS
    let left = this.bounds.stalledMs
    for (const backlog of [...this.#backlogs]) {
      const stalled = backlog.stalledFor(now)
      if (stalled >= this.bounds.stalledMs && !isLate) backlog.cut()
      else left = Math.min(left, this.bounds.stalledMs - stalled)
    }
    if (this.#backlogs.size > 0) this.#arm(isLate ? this.bounds.stalledMs : Math.max(1, left))
  }
}
