import type { Bytes } from '../../model/index.js'
import { LineSplitter } from '../../wire/index.js'

const MAX_LINE = 2_048
const KEPT_LINES = 5
const KEPT_CHARS = 500

/** Drains a child's stderr, whatever its rate; remembers the last lines for the message about its end. */
export class StderrTail {
  readonly #last: string[] = []
  readonly #splitter: LineSplitter

  constructor(private readonly tell: (line: string) => void) {
    this.#splitter = new LineSplitter(MAX_LINE, {
      line: bytes => this.#add(Buffer.from(bytes).toString('utf8')),
      overflow: (prefix, total) => this.#add(`${Buffer.from(prefix).toString('utf8')}… (${total} bytes)`),
    })
  }

  push(chunk: Bytes): void {
    this.#splitter.push(chunk)
  }

  /** What it said last, as one line. */
  lastLines(): string {
    const text = this.#last.join(' | ')
    return text.length <= KEPT_CHARS ? text : `…${text.slice(text.length - KEPT_CHARS)}`
  }

  #add(line: string): void {
    const text = line.trimEnd()
    if (text === '') return
    this.#last.push(text)
    if (this.#last.length > KEPT_LINES) this.#last.shift()
    this.tell(text)
  }
}
