import { type Bytes, LIMITS } from '../../model/index.js'
import type { HttpFault, HttpHandler } from '../../runtime/ports.js'
import { type SseEvent, SseParser, scanEnvelope, UPSTREAM_SCAN, WireError } from '../../wire/index.js'
import type { TransportFault } from '../transport.js'
import { tooLarge, transportFault } from './http-faults.js'

export interface StreamOwner {
  /** "POST /mcp" */
  readonly what: string
  message(bytes: Bytes): void
  /** Nothing more of the exchange is wanted. */
  stop(): void
  ended(fault: TransportFault | null): void
  /** Opens the stream again behind an event, after a pause; null where the era of the server has no such thing. */
  readonly resume: ((lastEventId: string, afterMs: number, handler: HttpHandler) => void) | null
}

const RETRY_MS = 500
const LEAST_RETRY_MS = 50
const MOST_RETRY_MS = 30_000
/** A stream that was taken up this often is not taken up more often than once a second. */
const QUICK_RESUMES = 10
const SLOW_RETRY_MS = 1_000
/** Longer ids would not fit into a header of most servers. */
const MAX_EVENT_ID = 1_024

/**
 * The answer to one POST as an event stream. A legacy server may number its events and end the stream before the
 * answer; then it is taken up again behind the last one, and once more only if that brought a new one.
 */
export class AnswerStream implements HttpHandler {
  #parser: SseParser
  #answered = false
  #resumedFrom = ''
  #resumes = 0
  #retryMs = RETRY_MS

  constructor(private readonly owner: StreamOwner) {
    this.#parser = this.#newParser()
  }

  headers(): void {}

  data(chunk: Bytes): void {
    this.#parser.push(chunk)
  }

  end(): void {
    this.#over(null)
  }

  fault(fault: HttpFault): void {
    this.#over(transportFault(fault))
  }

  #newParser(): SseParser {
    return new SseParser(LIMITS.upstreamMessageBytes, {
      event: event => this.#event(event),
      retry: ms => {
        this.#retryMs = Math.min(Math.max(ms, LEAST_RETRY_MS), MOST_RETRY_MS)
      },
      // Its end may never come.
      exceeded: () => {
        this.owner.stop()
        this.owner.ended(tooLarge(this.owner.what))
      },
      overflow: () => undefined,
    })
  }

  #event({ event, data, id }: SseEvent): void {
    if (event !== 'message' || data.length === 0) return
    // Only a stream that could be resumed has to know whether that is still needed.
    if (id !== null && this.owner.resume && isFinal(data)) this.#answered = true
    this.owner.message(data)
  }

  #over(fault: TransportFault | null): void {
    const { resume } = this.owner
    const from = this.#parser.lastEventId || this.#resumedFrom
    const isNew = from !== this.#resumedFrom && from.length <= MAX_EVENT_ID
    if (!resume || this.#answered || !isNew) return this.owner.ended(fault)
    this.#resumedFrom = from
    this.#parser = this.#newParser()
    this.#resumes += 1
    const pause = this.#resumes > QUICK_RESUMES ? Math.max(this.#retryMs, SLOW_RETRY_MS) : this.#retryMs
    resume(from, pause, this.#afterResume(fault))
  }

  /** A server that does not take the stream up again leaves the first end as it was. */
  #afterResume(before: TransportFault | null): HttpHandler {
    let taken = false
    return {
      headers: (status, headers) => {
        taken = status === 200 && (headers['content-type'] ?? '').startsWith('text/event-stream')
        if (taken) return
        this.owner.stop()
        this.owner.ended(before)
      },
      data: chunk => {
        if (taken) this.data(chunk)
      },
      end: () => {
        if (taken) this.end()
      },
      fault: fault => (taken ? this.fault(fault) : this.owner.ended(before)),
    }
  }
}

function isFinal(bytes: Bytes): boolean {
  try {
    const { kind } = scanEnvelope(bytes, UPSTREAM_SCAN)
    return kind === 'result' || kind === 'error'
  } catch (thrown) {
    if (!(thrown instanceof WireError)) throw thrown
    return true
  }
}
