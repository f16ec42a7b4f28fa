import { IdRing } from '../core/tables/index.js'
import { type Bytes, type GatewayError, LIMITS, type Outcome, type Reply } from '../model/index.js'
import type {
  Clock,
  Connection,
  ConnectionEvents,
  RunningRequest,
  UpstreamRequest,
} from '../runtime/ports.js'
import {
  type Envelope,
  json,
  looksLikeBatch,
  parseAt,
  scanEnvelope,
  slice,
  splitBatch,
  UPSTREAM_SCAN,
  WireError,
} from '../wire/index.js'
import { answerUnder, describeSurprise, excerpt, mayAnswer, unknownResultType } from './answers.js'
import { CancelledRequests } from './cancelled.js'
import { Conduct } from './conduct.js'
import type { EraCodec } from './eras/era.js'
import { errorFrom, isViolation, violation } from './faults.js'
import { isMoreVerbose } from './log-levels.js'
import { type Pending, ServerTalk } from './talk.js'
import type { Transport, TransportFault } from './transport.js'
import { isSessionError } from './transports/index.js'

/** What a handshake told about the server. */
export interface Handshake {
  readonly protocolVersion: string
  readonly serverInfo: { readonly name: string; readonly version: string } | null
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly instructions: string | null
}

/** `abandon`: nobody tells the server, it never settles, and a late answer is swallowed. */
export interface AbandonableRequest extends RunningRequest {
  abandon(): void
}

export interface ConnectionOptions {
  readonly upstream: string
  readonly clock: Clock
  readonly events: ConnectionEvents
  readonly hasCredentials: boolean
}

/**
 * One connection: its own ids, who waits for which answer, and whose progress, logs and questions come in between.
 * Messages are matched by id alone; ids are never used twice, so a late answer can hit nobody.
 */
export class UpstreamConnection implements Connection {
  readonly upstream: string
  readonly #pending = new IdRing<Pending>()
  readonly #cancelled: CancelledRequests
  readonly #talk: ServerTalk
  readonly #conduct: Conduct
  readonly #clock: Clock
  readonly #events: ConnectionEvents
  #nextId = 1
  follow?: Connection['follow']
  /** Told when nothing can be asked any more. */
  onOver: (() => void) | null = null
  #logLevel: string | null = null
  #over = false
  #codec: EraCodec
  #handshake: Handshake = { protocolVersion: '', serverInfo: null, capabilities: {}, instructions: null }

  constructor(
    private readonly options: ConnectionOptions,
    private readonly link: Transport,
    codec: EraCodec,
  ) {
    const { clock, events, upstream } = options
    this.upstream = upstream
    this.#clock = clock
    this.#events = events
    this.#codec = codec
    this.#cancelled = new CancelledRequests(clock, stuck => this.#conduct.stuck(stuck))
    this.#conduct = new Conduct({
      clock,
      link,
      events,
      waiting: () => this.inFlight,
    })
    this.#talk = this.#listen()
  }

  #listen(): ServerTalk {
    const codec = () => this.#codec
    return new ServerTalk(
      {
        get era() {
          return codec().era
        },
        pending: this.#pending,
        notify: message => this.notify(message),
        notification: (method, params) => this.#events.notification(method, params),
        violation: what => this.#conduct.violation(what),
        unwanted: id => this.#cancelled.heard(id),
      },
      this.#clock,
    )
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
  get stuck() {
    return this.#cancelled.stuck
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
      const error = this.#error({ phase: 'never-sent', reason: 'eof', message: reason })
      queueMicrotask(() => request.settle({ kind: 'never-sent', error }))
      return { cancel: () => undefined, abandon: () => undefined }
    }
    const level = request.context?.logLevel
    if (level !== undefined && this.era === 'legacy') this.#askForLogs(level)
    this.#pending.set(id, { id, request, progress: null, logs: null, stray: null })
    this.link.send(this.#codec.encode(id, request))
    return { cancel: reason => this.#cancel(id, reason), abandon: () => this.#abandon(id) }
  }

  notify(message: Bytes): void {
    if (!this.#over) this.link.send({ bytes: message })
  }

  async close(): Promise<void> {
    this.#end()
    this.#settleAll(() => this.#stopped())
    await this.link.close()
  }

  destroy(error: GatewayError): void {
    this.#end()
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
      return this.#malformed(bytes, thrown, source)
    }
    this.#conduct.message()
    if (envelope.kind === 'result' || envelope.kind === 'error') this.#answer(envelope, source)
    else if (envelope.kind === 'request') this.#talk.asked(envelope, source)
    else this.#talk.notified(envelope, source)
  }

  ended(id: number, fault: TransportFault | null): void {
    const pending = this.#take(id)
    if (pending) {
      this.#talk.end(pending, false)
      const instead = pending.stray ?? 'ended its answer without a result'
      const outcome = fault ? this.#outcomeOf(id, fault) : this.#violated(instead)
      pending.request.settle(outcome)
    } else this.#cancelled.answered(id)
    if (fault && isViolation(fault)) this.#conduct.violation(fault.message)
  }

  noise(what: string, sort: 'garbage' | 'violation'): void {
    if (this.#over) return
    if (sort === 'violation') this.#conduct.violation(what)
    else this.#conduct.garbage(what)
  }

  /** Whether the answer to that request is still to come. */
  awaits(id: number): boolean {
    return this.#pending.get(id) !== undefined
  }

  closed(fault: TransportFault): void {
    if (this.#over) return
    this.#end()
    this.#settleAll(() => ({ kind: 'unknown', error: this.#lost({ ...fault, fatal: true }) }))
    this.#events.closed(this.#error(fault))
  }

  // ---- answers --------------------------------------------------------------------------------------------

  #batch(bytes: Bytes, source: number | null): void {
    try {
      for (const message of splitBatch(bytes, LIMITS.batch)) this.message(message, source)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      this.#malformed(bytes, thrown, source)
    }
  }

  #answer(envelope: Envelope, source: number | null): void {
    const { id, bytes, result, error } = envelope
    const pending = typeof id === 'number' ? this.#take(id) : undefined
    if (!pending) return this.#stray(envelope, source)
    if (pending.progress || pending.logs) this.#talk.end(pending, true)
    if (error && this.#endsSession(slice(bytes, error))) return this.#loseSession(pending)
    const reply = result
      ? { result: slice(bytes, result) }
      : { error: slice(bytes, error as NonNullable<typeof error>) }
    const unknown = this.era === 'modern' && result ? unknownResultType(slice(bytes, result)) : null
    if (unknown !== null) {
      return pending.request.settle(this.#violated(`answered with a result of an unknown type: ${unknown}`))
    }
    pending.request.settle(this.#answered(reply))
  }

  /** An answer that nobody waits for. On a stream of its own the right one may still follow. */
  #stray(envelope: Envelope, source: number | null): void {
    const { id, error, bytes } = envelope
    if (typeof id === 'number' && this.#cancelled.answered(id)) return
    const pending = source === null ? undefined : this.#pending.get(source)
    if (pending && id === null && error) {
      this.#take(pending.id)
      return pending.request.settle(this.#answered({ error: slice(bytes, error) }))
    }
    if (pending) pending.stray = `answered with another id: ${JSON.stringify(id).slice(0, 80)}`
    this.#conduct.violation(describeSurprise(envelope))
  }

  #malformed(bytes: Bytes, error: WireError, source: number | null): void {
    const known = typeof error.id === 'number' ? this.#take(error.id) : undefined
    const pending = known ?? (source === null ? undefined : this.#take(source))
    const what = `an invalid message: ${error.message} ${excerpt(bytes)}`
    pending?.request.settle(this.#violated(`sent an invalid message: ${error.message}`))
    // What a child prints beside its messages may look like JSON: a log.
    if (!pending && this.link.kind === 'stdio') this.#conduct.garbage(what)
    else this.#conduct.violation(what)
  }

  /** Over HTTP, some servers answer for a session that they no longer know, under a status of success. */
  #endsSession(error: Bytes): boolean {
    if (this.link.kind !== 'http' || this.era === 'modern') return false
    const { code, message } = (parseAt(error, { start: 0, end: error.length }) ?? {}) as Record<
      string,
      unknown
    >
    return isSessionError(code, message)
  }

  #loseSession(pending: Pending): void {
    const fault: TransportFault = {
      phase: 'rejected',
      reason: 'session-lost',
      message: 'no longer knows the session',
    }
    pending.request.settle({ kind: 'rejected', error: this.#error(fault) })
    this.link.fail(fault)
  }

  #outcomeOf(id: number, fault: TransportFault): Outcome {
    const error = fault.body && mayAnswer(fault) ? answerUnder(fault.body, id) : null
    return error ? this.#answered({ error }) : { kind: fault.phase, error: this.#error(fault) }
  }

  // ---- the end of requests, and of the connection -----------------------------------------------------------

  /** Legacy servers send logs per session: as verbose as the most curious caller so far. */
  #askForLogs(level: string): void {
    if (this.#handshake.capabilities['logging'] === undefined || !isMoreVerbose(level, this.#logLevel)) return
    this.#logLevel = level
    const id = this.#nextId++
    this.#cancelled.bury(id)
    const bytes = json({ jsonrpc: '2.0', id, method: 'logging/setLevel', params: { level } })
    this.link.send({ bytes, id })
  }

  #take(id: number): Pending | undefined {
    return this.#pending.delete(id)
  }

  #cancel(id: number, reason: string): void {
    const pending = this.#take(id)
    if (!pending) return
    this.#talk.end(pending, false)
    // Over HTTP its stream is dropped, so that it cannot be answered any more; a subscription need not be.
    if (this.link.kind === 'http' || pending.request.onAcknowledged) this.#cancelled.bury(id)
    else this.#cancelled.cancel(id)
    const message = this.#codec.cancel(id, reason)
    if (message) this.notify(message)
    this.link.abort(id)
    queueMicrotask(() => pending.request.settle({ kind: 'cancelled' }))
  }

  #abandon(id: number): void {
    if (this.#take(id)) this.#cancelled.bury(id)
  }

  /** Nothing is told, asked or counted any more. */
  #end(): void {
    this.#over = true
    this.onOver?.()
    this.#talk.stop()
    this.#conduct.stop()
  }

  #settleAll(outcome: () => Outcome): void {
    const pending = this.#pending.values()
    this.#pending.clear()
    for (const { request } of pending) request.settle(outcome())
  }

  #answered(reply: Reply): Outcome {
    return { kind: 'answered', reply, era: this.era, upstream: this.upstream }
  }

  #lost(fault: TransportFault): GatewayError {
    return this.#error({ ...fault, phase: 'unknown' })
  }

  #error(fault: TransportFault): GatewayError {
    const { upstream, hasCredentials } = this.options
    return errorFrom({ upstream, hasCredentials, wallTime: this.#clock.wallTime() }, fault)
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
