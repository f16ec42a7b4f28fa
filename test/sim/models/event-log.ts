import type { SiteAnswer } from '../virtual-dialer.js'

const SSE_TYPE = { 'content-type': 'text/event-stream' }

/** The answer to one POST as an event stream; a resumable one keeps its events for who comes back. */
export class EventLog {
  started = false
  readonly #events: string[] = []
  #done = false
  #answer: SiteAnswer

  constructor(
    readonly id: string,
    answer: SiteAnswer,
    readonly resumable: boolean,
    private readonly headers: Record<string, string>,
  ) {
    this.#answer = answer
  }

  push(message: object, last: boolean): void {
    if (this.#done) return
    this.#done = last
    const number = this.resumable ? `id: ${this.id}:${this.#events.length}\n` : ''
    const text = `${number}data: ${JSON.stringify(message)}\n\n`
    this.#events.push(text)
    this.#start()
    this.#answer.data(text)
    if (last) this.#answer.end()
  }

  /** The stream ends before the answer, which is only there for who comes back. */
  breakOff(cleanly: boolean, answer: object | undefined): void {
    this.#start()
    if (this.resumable) {
      const first = `id: ${this.id}:${this.#events.length}\ndata:\n\n`
      this.#events.push(first)
      this.#answer.data(first)
    }
    if (cleanly) this.#answer.end()
    else this.#answer.reset()
    if (answer) this.push(answer, true)
  }

  resume(answer: SiteAnswer, lastEventId: string): void {
    const from = Number(lastEventId.split(':')[1]) + 1
    this.#answer = answer
    answer.headers(200, SSE_TYPE)
    for (const text of this.#events.slice(from)) answer.data(text)
    if (this.#done) answer.end()
  }

  #start(): void {
    if (this.started) return
    this.started = true
    this.#answer.headers(200, { ...SSE_TYPE, ...this.headers })
  }
}
