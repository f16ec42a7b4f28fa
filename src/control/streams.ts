import type { ServerResponse } from 'node:http'
import type { Clock } from '../runtime/ports.js'
import { sendJson } from './answer.js'
import { EventStream, type ReaderBuffers, type StreamEvents } from './event-stream.js'
import type { GatewayStatus } from './status.js'
import type { TransitionFeed } from './transitions.js'

export interface StreamSource {
  readonly clock: Clock
  readonly readers: ReaderBuffers
  readonly transitions: TransitionFeed
  /** Told of each configuration that was taken over or refused. */
  onConfig?(listener: (result: unknown) => void): () => void
  status(): GatewayStatus
  logs(name: string): readonly string[] | null
  followLogs(name: string, listener: (line: string) => void): () => void
}

/** Readers of events and of logs at one time, together. */
const MAX_STREAMS = 64

/** What a running gateway tells as it happens. */
export class Streams {
  readonly #open = new Set<EventStream>()

  constructor(private readonly source: StreamSource) {}

  /** How everything stands, then every transition and every reload; how everything stands again after some were lost. */
  events(res: ServerResponse): void {
    const { transitions } = this.source
    const tellAll = () => stream?.sendWhole('snapshot', this.source.status(), String(transitions.lastId))
    const stream = this.#stream(res, { closed: () => leave(), caughtUp: tellAll })
    if (!stream) return
    const leaveTransitions = transitions.listen(transition =>
      stream.send('transition', transition, String(transition.id)),
    )
    const leaveConfigs = this.source.onConfig?.(result => stream.send('config', result))
    const leave = () => {
      leaveTransitions()
      leaveConfigs?.()
    }
    tellAll()
  }

  /** The lines that are kept, then each new one; the number of those that were lost in place of them. */
  logs(res: ServerResponse, name: string): void {
    const lines = this.source.logs(name)
    if (!lines) {
      sendJson(res, 404, { error: `No server named ${JSON.stringify(name)} is configured.` })
      return
    }
    const stream = this.#stream(res, { closed: () => leave() })
    if (!stream) return
    const tell = (line: string) => stream.send('line', { line })
    const leave = this.source.followLogs(name, tell)
    for (const line of lines) tell(line)
  }

  close(): void {
    for (const stream of [...this.#open]) stream.close()
  }

  #stream(res: ServerResponse, events: StreamEvents): EventStream | null {
    if (this.#open.size >= MAX_STREAMS) {
      sendJson(res, 503, { error: `${MAX_STREAMS} readers follow this gateway already.` })
      return null
    }
    const { clock, readers } = this.source
    const closed = () => {
      this.#open.delete(stream)
      events.closed()
    }
    const stream: EventStream = new EventStream(res, clock, readers, { ...events, closed })
    this.#open.add(stream)
    return stream
  }
}
