import { type Bytes, LIMITS } from '../../model/index.js'
import type { Clock } from '../../runtime/ports.js'
import { LineSplitter } from '../../wire/index.js'

const MAX_LINE = 2_048
const KEPT_LINES = 5
const KEPT_CHARS = 500
const KEPT_BYTES = 4_096
const SECOND_MS = 1_000
const LF = 0x0a

/**
 * Drains a child's stderr, whatever its rate; passes so many lines a second on and counts the others. Remembers the last
 * lines for the message about its end.
 */
export class StderrTail {
  readonly #last: string[] = []
  readonly #splitter: LineSplitter
  #secondAt = Number.NEGATIVE_INFINITY
  #told = 0
  #dropped = 0
  /** The end of what was not even cut into lines. */
  #raw: Bytes | null = null

  constructor(
    private readonly clock: Clock,
    private readonly tell: (line: string) => void,
  ) {
    this.#splitter = new LineSplitter(MAX_LINE, {
      line: bytes => this.#add(Buffer.from(bytes).toString('utf8')),
      overflow: (prefix, total) => this.#add(`${Buffer.from(prefix).toString('utf8')}… (${total} bytes)`),
    })
  }

  push(chunk: Bytes): void {
    this.#renew()
    if (this.#told < LIMITS.stderrLinesPerSecond) {
      if (this.#raw) this.#resume()
      this.#splitter.push(chunk)
      return
    }
    // A flood costs as little as can be: counted, not cut into lines.
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) this.#dropped += 1
    this.#raw =
      chunk.length >= KEPT_BYTES ? chunk : Buffer.concat([this.#raw ?? EMPTY, chunk]).subarray(-KEPT_BYTES)
  }

  /** What it said last, as one line. */
  lastLines(): string {
    this.#keepRaw()
    const text = this.#last.join(' | ')
    return text.length <= KEPT_CHARS ? text : `…${text.slice(text.length - KEPT_CHARS)}`
  }

  #renew(): void {
    const now = this.clock.now()
    if (now - this.#secondAt < SECOND_MS) return
    this.#secondAt = now
    this.#told = 0
    if (this.#dropped === 0) return
    this.tell(
      `… ${this.#dropped} lines of stderr were dropped: more than ${LIMITS.stderrLinesPerSecond} a second`,
    )
    this.#dropped = 0
  }

  /** The flood is over, and what comes next may begin in the middle of a line. */
  #resume(): void {
    this.#keepRaw()
    this.#splitter.end()
  }

  #keepRaw(): void {
    if (!this.#raw) return
    const text = Buffer.from(this.#raw.subarray(-KEPT_BYTES)).toString('utf8')
    this.#raw = null
    for (const line of text.split('\n').slice(-KEPT_LINES - 1)) this.#remember(line.trimEnd())
  }

  #add(line: string): void {
    const text = line.trimEnd()
    if (text === '') return
    this.#remember(text)
    if (this.#told >= LIMITS.stderrLinesPerSecond) {
      this.#dropped += 1
      return
    }
    this.#told += 1
    this.tell(text)
  }

  #remember(line: string): void {
    if (line === '') return
    this.#last.push(line)
    if (this.#last.length > KEPT_LINES) this.#last.shift()
  }
}

const EMPTY: Bytes = Buffer.alloc(0)
