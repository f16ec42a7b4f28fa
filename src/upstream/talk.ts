import type { IdRing } from '../core/tables/index.js'
import { type Ask, type Bytes, EMPTY_OBJECT, type Era } from '../model/index.js'
import type { Clock, UpstreamRequest } from '../runtime/ports.js'
import {
  type Envelope,
  errorMessage,
  idBytes,
  json,
  member,
  objectAt,
  parseAt,
  resultMessage,
  slice,
  stringAt,
  typeAt,
} from '../wire/index.js'
import { FloodGate, type Flow, newFlow } from './flood-gate.js'
import { isWanted } from './log-levels.js'

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'

/** A request without its final answer. */
export interface Pending {
  readonly id: number
  readonly request: UpstreamRequest
  /** What it was told of late; null before the first notification. */
  progress: Flow | null
  logs: Flow | null
  /** What came on its stream in place of its answer, which may still follow. */
  stray: string | null
}

/** The part of a connection that the server's own messages are about. */
export interface TalkRoom {
  readonly era: Era
  readonly pending: IdRing<Pending>
  notify(message: Bytes): void
  notification(method: string, params: Bytes | null): void
  violation(what: string): void
  /** Progress of a request that nobody waits for any more. */
  unwanted(id: number): void
}

/** Everything that a server says besides answers: progress, logs, questions, changes. */
export class ServerTalk {
  readonly #gate: FloodGate

  constructor(
    private readonly room: TalkRoom,
    clock: Clock,
  ) {
    this.#gate = new FloodGate(clock)
  }

  notified(envelope: Envelope, source: number | null): void {
    const { method, params, bytes } = envelope
    switch (method) {
      case 'notifications/progress':
        return this.#progressed(envelope)
      case 'notifications/message':
        return this.#logged(envelope, source)
      case 'notifications/subscriptions/acknowledged':
        return this.#acknowledged(envelope, source)
      case 'notifications/cancelled':
        return
      default:
        this.room.notification(method ?? '', params && slice(bytes, params.span))
    }
  }

  asked(envelope: Envelope, source: number | null): void {
    const { method, params, bytes } = envelope
    const { room } = this
    const id = Buffer.from(idBytes(envelope))
    if (room.era === 'modern') {
      return room.violation(`a request from the server (${method}), which its era does not have`)
    }
    if (method === 'ping') return room.notify(resultMessage(id, EMPTY_OBJECT))
    const owner = this.#owner(source, request => request.context?.onAsk !== undefined)
    const onAsk = owner?.request.context?.onAsk
    if (!owner || !onAsk) return room.notify(errorMessage(id, notServed(method ?? '')))
    owner.request.onActivity?.()
    const ask: Ask = {
      method: method ?? '',
      params: params && slice(bytes, params.span),
      respond: reply => {
        if (!room.pending.get(owner.id)) return
        owner.request.onActivity?.()
        room.notify('result' in reply ? resultMessage(id, reply.result) : errorMessage(id, reply.error))
      },
    }
    onAsk(ask)
  }

  /** The request is over. What was held back of its progress and logs is told before its answer, or not at all. */
  end({ progress, logs }: Pending, tell: boolean): void {
    if (progress) this.#gate.end(progress, tell)
    if (logs) this.#gate.end(logs, tell)
  }

  stop(): void {
    this.#gate.stop()
  }

  /** By the id that it names, else by the stream that it came on. */
  #acknowledged({ params, bytes }: Envelope, source: number | null): void {
    const meta = params && member(params, '_meta')
    const named =
      meta && typeAt(bytes, meta) === 'object' ? member(objectAt(bytes, meta), SUBSCRIPTION) : undefined
    const id = named && parseAt(bytes, named)
    const pending =
      typeof id === 'number'
        ? this.room.pending.get(id)
        : this.#owner(source, request => request.onAcknowledged !== undefined)
    pending?.request.onAcknowledged?.(params && slice(bytes, params.span))
  }

  #progressed({ params, bytes }: Envelope): void {
    const token = params && member(params, 'progressToken')
    if (!params || !token) return
    const id = Number(Buffer.from(slice(bytes, token)).toString('latin1'))
    const pending = this.room.pending.get(id)
    if (!pending) return this.room.unwanted(id)
    pending.request.onActivity?.()
    const onProgress = pending.request.context?.onProgress
    if (!onProgress) return
    pending.progress ??= newFlow()
    this.#gate.pass(pending.progress, () => onProgress(slice(bytes, params.span)))
  }

  #logged({ params, bytes }: Envelope, source: number | null): void {
    if (!params) return
    const pending = this.#owner(source, request => request.context?.logLevel !== undefined)
    const context = pending?.request.context
    if (!pending || context?.logLevel === undefined) return
    pending.request.onActivity?.()
    const level = member(params, 'level')
    const text = level ? (stringAt(bytes, level) ?? '') : ''
    if (!isWanted(text, context.logLevel)) return
    pending.logs ??= newFlow()
    this.#gate.pass(pending.logs, () => context.onLog?.(slice(bytes, params.span)))
  }

  /** The request whose stream it came on; on a shared channel the only one that could be meant. */
  #owner(source: number | null, wants: (request: UpstreamRequest) => boolean): Pending | undefined {
    const { pending } = this.room
    if (source !== null) return pending.get(source)
    let only: Pending | undefined
    for (const one of pending.values()) {
      if (!wants(one.request)) continue
      if (only) return undefined
      only = one
    }
    return only
  }
}

function notServed(method: string): Bytes {
  return json({
    code: -32601,
    message: `${method} cannot be answered: no client of the gateway waits for it here.`,
  })
}
