import type { Bytes } from '../../model/index.js'
import type { AnswerSink } from '../sink.js'

/** Gathers the answers to a batch into one array, in the order in which they come. No answers make no array. */
export class BatchSink {
  readonly #answers: Bytes[] = []

  constructor(
    private readonly target: AnswerSink,
    private left: number,
    private readonly allDropped: () => void,
  ) {}

  /** The sink of one request of the batch. */
  next(): AnswerSink {
    let over = false
    return {
      interim: (message, slot) => !over && this.target.interim(message, slot),
      final: message => {
        over = true
        this.#answers.push(message)
        this.#count()
      },
    }
  }

  /** One request was cancelled and gets no answer. */
  skip(): void {
    this.#count()
  }

  #count(): void {
    this.left -= 1
    if (this.left > 0) return
    if (this.#answers.length === 0) return this.allDropped()
    const parts = this.#answers.flatMap((answer, index) => (index === 0 ? [answer] : [COMMA, answer]))
    this.target.final(Buffer.concat([OPEN, ...parts, CLOSE]))
  }
}

const OPEN = Buffer.from('[')
const COMMA = Buffer.from(',')
const CLOSE = Buffer.from(']')
