import { IdRing } from '../core/tables/index.js'
import { type Ask, type Bytes, type GatewayError, LIMITS, type Outcome } from '../model/index.js'
import type { Connection, ConnectionEvents, RunningRequest, UpstreamRequest } from '../runtime/ports.js'
import {
  type Envelope,
  errorMessage,
  idBytes,
  json,
  looksLikeBatch,
  member,
  objectAt,
  resultMessage,
  scanEnvelope,
  slice,
  splitBatch,
  stringAt,
  UPSTREAM_SCAN,
  WireError,
} from '../wire/index.js'
import type { EraCodec } from './eras/era.js'
import { errorFrom, violation } from './faults.js'
import { isMoreVerbose, isWanted } from './log-levels.js'
import type { Transport, TransportFault } from './transport.js'

/** What a handshake told about the server. */
export interface Handshake {
  readonly protocolVersion: string
  readonly serverInfo: { readonly name: string; readonly version: string } | null
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly instructions: string | null
}

interface Pending {
  readonly id: number
  readonly request: UpstreamRequest
}

/** `abandon`: nobody tells the server, it never settles, and a late answer is swallowed. */
export interface AbandonableRequest extends RunningRequest {
  abandon(): void
}

const TOMBSTONES = 1_000

/**
 * One connection: its own ids, who waits for which answer, and whose progress, logs and questions come in between.
 * Messages are matched by id alone; ids are never used twice, so a late answer can hit nobody.
 */
export class UpstreamConnection implements Connection {
  readonly #pending = new IdRing<Pending>()
  readonly #tombstones = new Set<number>()
  #nextId = 1
  #logLevel: string | null = null
  #over = false
  #codec: EraCodec
  #handshake: Handshake = { protocolVersion: '', serverInfo: null, capabilities: {}, instructions: null }

  constructor(
    readonly upstream: string,
    private readonly link: Transport,
    codec: EraCodec,
    private readonly events: ConnectionEvents,
    private readonly hasCredentials: boolean,
  ) {
    this.#codec = codec
  }

  get transport() {
    return this.link.kind
  }
  get era() {
    return this.#codec.era
  }
  get protocolVersion() {
    return this.#handshake.protocolVersion
  }
  get serverInfo() {
    return this.#handshake.serverInfo
  }
  get capabilities() {
    return this.#handshake.capabilities
  }
  get instructions() {
    return this.#handshake.instructions
  }
  get pid() {
    return this.link.pid
  }
  get inFlight() {
    let calls = 0
    for (const { request } of this.#pending.values()) if (request.context) calls += 1
    return calls
  }

  /** True once nothing can be asked any more. */
  get isOver() {
    return this.#over
  }

  /** During the handshake: the era that the server turned out to speak. */
  speak(codec: EraCodec): void {
    this.#codec = codec
  }

  shook(handshake: Handshake): void {
    this.#handshake = handshake
  }

  request(request: UpstreamRequest): AbandonableRequest {
    const id = this.#nextId++
    if (this.#over) {
      const reason = 'the connection is gone'
      const error = errorFrom(this.upstream, { phase: 'never-sent', reason: 'eof', message: reason }, false)
      queueMicrotask(() => request.settle({ kind: 'never-sent', error }))
      return { cancel: () => undefined, abandon: () => undefined }
    }
    const level = request.context?.logLevel
    if (level !== undefined && this.era === 'legacy') this.#askForLogs(level)
    this.#pending.set(id, { id, request })
    this.link.send(this.#codec.encode(id, request))
    return { cancel: reason => this.#cancel(id, reason), abandon: () => this.#abandon(id) }
  }

  notify(message: Bytes): void {
    if (!this.#over) this.link.send({ bytes: message })
  }

  async close(): Promise<void> {
    this.#over = true
    this.#settleAll(() => this.#stopped())
    await this.link.close()
  }

  destroy(error: GatewayError): void {
    this.#over = true
    // The error may speak of another request, which was refused or never left; these here may have run.
    const message = error.details.reason ?? error.message
    const fault: TransportFault = { phase: 'unknown', reason: 'aborted', message }
    this.#settleAll(() => ({ kind: 'unknown', error: this.#lost(fault) }))
    this.link.destroy()
  }

  // ---- from the transport ---------------------------------------------------------------------------------

  message(bytes: Bytes, source: number | null): void {
    if (this.#over) return
    if (looksLikeBatch(bytes)) return this.#batch(bytes, source)
    let envelope: Envelope
    try {
      envelope = scanEnvelope(bytes, UPSTREAM_SCAN)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      return this.#malformed(thrown, source)
    }
    if (envelope.kind === 'result' || envelope.kind === 'error') this.#answer(envelope, source)
    else if (envelope.kind === 'request') this.#asked(envelope, source)
    else this.#notified(envelope, source)
  }

  ended(id: number, fault: TransportFault | null): void {
    const pending = this.#take(id)
    if (!pending) return
    pending.request.settle(
      fault ? this.#outcomeOf(id, fault) : this.#violated('ended its answer without a result'),
    )
  }

  closed(fault: TransportFault): void {
    if (this.#over) return
    this.#over = true
    const error = errorFrom(this.upstream, fault, this.hasCredentials)
    this.#settleAll(() => ({ kind: 'unknown', error: this.#lost(fault) }))
    this.events.closed(error)
  }

  // ---- answers --------------------------------------------------------------------------------------------

  #batch(bytes: Bytes, source: number | null): void {
    try {
      for (const message of splitBatch(bytes, LIMITS.batch)) this.message(message, source)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      this.#malformed(thrown, source)
    }
  }

  #answer(envelope: Envelope, source: number | null): void {
    const { id, bytes, result, error } = envelope
    const pending = typeof id === 'number' ? this.#take(id) : undefined
    if (!pending) return this.#stray(envelope, source)
    const reply = result
      ? { result: slice(bytes, result) }
      : { error: slice(bytes, error as NonNullable<typeof error>) }
    const unknown = this.era === 'modern' && result ? unknownResultType(slice(bytes, result)) : null
    if (unknown !== null) {
      return pending.request.settle(this.#violated(`answered with a result of an unknown type: ${unknown}`))
    }
    pending.request.settle({ kind: 'answered', reply, era: this.era, upstream: this.upstream })
  }

  /** An answer that nobody waits for. On a stream of its own it can only be meant for that request. */
  #stray(envelope: Envelope, source: number | null): void {
    if (typeof envelope.id === 'number' && this.#tombstones.has(envelope.id)) return
    const pending = source === null ? undefined : this.#take(source)
    if (!pending) return this.events.violation(`an answer with an unknown id: ${JSON.stringify(envelope.id)}`)
    if (envelope.id === null && envelope.error) {
      const reply = { error: slice(envelope.bytes, envelope.error) }
      pending.request.settle({ kind: 'answered', reply, era: this.era, upstream: this.upstream })
    } else {
      pending.request.settle(this.#violated(`answered with another id: ${JSON.stringify(envelope.id)}`))
    }
  }

  #malformed(error: WireError, source: number | null): void {
    const known = typeof error.id === 'number' ? this.#take(error.id) : undefined
    const pending = known ?? (source === null ? undefined : this.#take(source))
    if (pending) pending.request.settle(this.#violated(`sent an invalid message: ${error.message}`))
    else this.events.violation(`an invalid message: ${error.message}`)
  }

  #outcomeOf(id: number, fault: TransportFault): Outcome {
    const mayAnswer = fault.body && fault.reason === 'http-status'
    const answered = mayAnswer && fault.body ? this.#answerInside(id, fault.body) : null
    if (answered) return answered
    const error = errorFrom(this.upstream, fault, this.hasCredentials)
    return { kind: fault.phase, error }
  }

  /** A JSON-RPC error under an HTTP error status is the server's answer all the same. */
  #answerInside(id: number, body: Bytes): Outcome | null {
    try {
      const { kind, id: answered, error } = scanEnvelope(body, UPSTREAM_SCAN)
      if (kind !== 'error' || !error || (answered !== null && answered !== id)) return null
      return {
        kind: 'answered',
        reply: { error: slice(body, error) },
        era: this.era,
        upstream: this.upstream,
      }
    } catch (thrown) {
      if (thrown instanceof WireError) return null
      throw thrown
    }
  }

  // ---- everything else that a server may say --------------------------------------------------------------

  #notified(envelope: Envelope, source: number | null): void {
    const { method, params, bytes } = envelope
    const raw = params && slice(bytes, params.span)
    switch (method) {
      case 'notifications/progress':
        return this.#progressed(envelope)
      case 'notifications/message':
        return this.#logged(envelope, source)
      case 'notifications/cancelled':
      case 'notifications/subscriptions/acknowledged':
        return
      default:
        this.events.notification(method ?? '', raw)
    }
  }

  #progressed({ params, bytes }: Envelope): void {
    const token = params && member(params, 'progressToken')
    if (!params || !token) return
    const id = Number(Buffer.from(slice(bytes, token)).toString('latin1'))
    const pending = this.#pending.get(id)
    pending?.request.onActivity?.()
    pending?.request.context?.onProgress?.(slice(bytes, params.span))
  }

  #logged({ params, bytes }: Envelope, source: number | null): void {
    if (!params) return
    const pending = this.#owner(source, request => request.context?.logLevel !== undefined)
    const context = pending?.request.context
    if (!pending || context?.logLevel === undefined) return
    pending.request.onActivity?.()
    const level = member(params, 'level')
    const text = level ? (stringAt(bytes, level) ?? '') : ''
    if (isWanted(text, context.logLevel)) context.onLog?.(slice(bytes, params.span))
  }

  /** The request whose stream it came on; on a shared channel the only one that could be meant. */
  #owner(source: number | null, wants: (request: UpstreamRequest) => boolean): Pending | undefined {
    if (source !== null) return this.#pending.get(source)
    let only: Pending | undefined
    for (const pending of this.#pending.values()) {
      if (!wants(pending.request)) continue
      if (only) return undefined
      only = pending
    }
    return only
  }

  #asked(envelope: Envelope, source: number | null): void {
    const { method, params, bytes } = envelope
    const id = Buffer.from(idBytes(envelope))
    if (this.era === 'modern') {
      return this.events.violation(`a request from the server (${method}), which its era does not have`)
    }
    if (method === 'ping') return this.notify(resultMessage(id, NO_PARAMS))
    const owner = this.#owner(source, request => request.context?.onAsk !== undefined)
    const onAsk = owner?.request.context?.onAsk
    if (!owner || !onAsk) return this.notify(errorMessage(id, notServed(method ?? '')))
    owner.request.onActivity?.()
    const ask: Ask = {
      method: method ?? '',
      params: params && slice(bytes, params.span),
      respond: reply => {
        if (!this.#pending.get(owner.id)) return
        owner.request.onActivity?.()
        this.notify('result' in reply ? resultMessage(id, reply.result) : errorMessage(id, reply.error))
      },
    }
    onAsk(ask)
  }

  /** Legacy servers send logs per session: as verbose as the most curious caller so far. */
  #askForLogs(level: string): void {
    if (this.#handshake.capabilities['logging'] === undefined || !isMoreVerbose(level, this.#logLevel)) return
    this.#logLevel = level
    const id = this.#nextId++
    this.#bury(id)
    const bytes = json({ jsonrpc: '2.0', id, method: 'logging/setLevel', params: { level } })
    this.link.send({ bytes, id })
  }

  // ---- the end of requests --------------------------------------------------------------------------------

  #take(id: number): Pending | undefined {
    return this.#pending.delete(id)
  }

  #cancel(id: number, reason: string): void {
    const pending = this.#take(id)
    if (!pending) return
    this.#bury(id)
    const message = this.#codec.cancel(id, reason)
    if (message) this.notify(message)
    this.link.abort(id)
    queueMicrotask(() => pending.request.settle({ kind: 'cancelled' }))
  }

  #abandon(id: number): void {
    if (this.#take(id)) this.#bury(id)
  }

  #bury(id: number): void {
    this.#tombstones.add(id)
    const oldest = this.#tombstones.values().next().value
    if (this.#tombstones.size > TOMBSTONES && oldest !== undefined) this.#tombstones.delete(oldest)
  }

  #settleAll(outcome: () => Outcome): void {
    const pending = this.#pending.values()
    this.#pending.clear()
    for (const { request } of pending) request.settle(outcome())
  }

  #lost(fault: TransportFault): GatewayError {
    return errorFrom(this.upstream, { ...fault, phase: 'unknown' }, this.hasCredentials)
  }

  #stopped(): Outcome {
    const fault: TransportFault = {
      phase: 'unknown',
      reason: 'aborted',
      message: 'was stopped by the gateway',
    }
    return { kind: 'unknown', error: this.#lost(fault) }
  }

  #violated(reason: string): Outcome {
    return { kind: 'unknown', error: violation(this.upstream, reason) }
  }
}

/** Every type that this version and its extensions have. */
const RESULT_TYPES = new Set<unknown>(['complete', 'input_required', 'task'])

/** The raw type of a result that must not be taken for one; an absent type means "complete" (2026-07-28). */
function unknownResultType(result: Bytes): string | null {
  if (result[0] !== 0x7b) return null
  const found = member(objectAt(result), 'resultType')
  if (!found || RESULT_TYPES.has(stringAt(result, found))) return null
  return Buffer.from(slice(result, found)).toString('utf8').slice(0, 80)
}

const NO_PARAMS: Bytes = Buffer.from('{}')

function notServed(method: string): Bytes {
  return json({
    code: -32601,
    message: `${method} cannot be answered: no client of the gateway waits for it here.`,
  })
}
