import { type Bytes, LIMITS } from '../../model/index.js'
import type { Child, Clock, Timer } from '../../runtime/ports.js'

interface Line {
  readonly bytes: Bytes
  readonly id: number | undefined
}

export interface StdinEvents {
  /** There is no room for that request. */
  refused(id: number): void
  /** The child has not taken anything for as long as is tolerable. */
  stuck(): void
}

/**
 * Lines on their way into a child's stdin: bounded, and known to be unsent until they are written. A lone line leaves at
 * once; while several come in a turn, those of one turn leave in one write.
 */
export class StdinQueue {
  #lines: Line[] = []
  #bytes = 0
  #flushing = false
  #bursts = false
  #blocked = false
  #blockedAt = 0
  #broken = false
  /** At most one, and only after the pipe was full. */
  #watch: Timer | null = null

  constructor(
    private readonly child: Child,
    private readonly clock: Clock,
    private readonly events: StdinEvents,
  ) {}

  push(bytes: Bytes, id: number | undefined): void {
    const waiting = this.#bytes + this.child.queuedBytes
    // One message always fits: a bound must not make a large one impossible.
    if (waiting > 0 && waiting + bytes.length > LIMITS.stdinQueueBytes) {
      if (id !== undefined) this.events.refused(id)
      return
    }
    this.#lines.push({ bytes, id })
    this.#bytes += bytes.length
    if (this.#flushing || this.#blocked || this.#broken) return
    this.#flushing = true
    if (!this.#bursts) this.#write()
    setImmediate(() => this.#flush())
  }

  drained(): void {
    this.#blocked = false
    this.#flush()
  }

  /** The pipe broke: what waits now is never written. */
  broke(): void {
    this.#broken = true
  }

  /** The child is gone, or left alone. */
  stop(): void {
    this.#broken = true
    this.#watch?.cancel()
    this.#watch = null
  }

  /** The ids of requests of which no byte was handed over; the queue is empty afterwards. */
  takeUnsent(): number[] {
    const ids = this.#lines.flatMap(line => (line.id === undefined ? [] : [line.id]))
    this.#lines = []
    this.#bytes = 0
    return ids
  }

  #flush(): void {
    this.#flushing = false
    this.#bursts = this.#lines.length > 1
    this.#write()
  }

  #write(): void {
    if (this.#lines.length === 0 || this.#blocked || this.#broken) return
    const lines = this.#lines
    this.#lines = []
    const batch = lines.length === 1 ? (lines[0] as Line).bytes : Buffer.concat(lines.map(line => line.bytes))
    this.#bytes = 0
    if (this.child.write(batch)) return
    if (this.child.queuedBytes > 0) return this.#block()
    // Refused with nothing left to write: the pipe is broken, and not one byte went through it.
    this.#broken = true
    this.#lines = lines
    this.#bytes = batch.length
  }

  #block(): void {
    this.#blocked = true
    this.#blockedAt = this.clock.now()
    this.#watch ??= this.clock.after(LIMITS.stdinStuckMs, () => this.#look())
  }

  /** Cancelled by nobody when the pipe drains: it then finds nothing to do, or the rest of the time. */
  #look(): void {
    this.#watch = null
    if (!this.#blocked || this.#broken) return
    const left = this.#blockedAt + LIMITS.stdinStuckMs - this.clock.now()
    if (left <= 0) return this.events.stuck()
    this.#watch = this.clock.after(left, () => this.#look())
  }
}
