import { type Bytes, LIMITS } from '../../model/index.js'
import type { Child } from '../../runtime/ports.js'

interface Line {
  readonly bytes: Bytes
  readonly id: number | undefined
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
  #broken = false

  constructor(
    private readonly child: Child,
    private readonly refuse: (id: number) => void,
  ) {}

  push(bytes: Bytes, id: number | undefined): void {
    const waiting = this.#bytes + this.child.queuedBytes
    // One message always fits: a bound must not make a large one impossible.
    if (waiting > 0 && waiting + bytes.length > LIMITS.stdinQueueBytes) {
      if (id !== undefined) this.refuse(id)
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
  stop(): void {
    this.#broken = true
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
    this.#blocked = !this.child.write(batch)
  }
}
