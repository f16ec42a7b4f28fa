import { isUtf8 } from 'node:buffer'
import type { Readable, Writable } from 'node:stream'
import { SmallTable } from '../../core/tables/index.js'
import { type Bytes, type Caller, type GatewayError, LIMITS, LOCAL, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, RunningCall } from '../../runtime/ports.js'
import {
  CLIENT_SCAN,
  type Envelope,
  encodeLine,
  errorMessage,
  idBytes,
  type JsonRpcId,
  json,
  LineSplitter,
  looksLikeBatch,
  member,
  parseAt,
  resultMessage,
  scanEnvelope,
  WireError,
} from '../../wire/index.js'
import { readBatch } from '../batch.js'
import { type Claim, classify } from '../classify.js'
import { asError, encodeFailure, rpcError, sameId, stopping, tooMany } from '../failures.js'
import { beginSession, LegacyServer } from '../legacy-server.js'
import type { LegacySession } from '../legacy-session.js'
import { ModernServer } from '../modern-server.js'
import { Pace } from '../pace.js'
import { type LoadView, NO_LOAD, shed } from '../shedder.js'
import type { AnswerSink } from '../sink.js'
import { BatchSink } from './batch-sink.js'
import { BUFFER_BOUNDS, type BufferBounds, ClientBuffers } from './client-buffers.js'
import type { FaceOptions } from './http.js'
import { Outflow } from './outflow.js'

export interface StdioFace {
  /** Resolves when the client has closed its end, its pipe broke, or `close` was called. */
  readonly closed: Promise<void>
  /** Ends subscriptions gracefully and cancels what runs. Idempotent. */
  close(): void
}

export function createStdioFace(
  core: GatewayCore,
  host: Host,
  streams: { readonly input: Readable; readonly output: Writable },
  options: FaceOptions = {},
): StdioFace {
  const { load = NO_LOAD, bounds = BUFFER_BOUNDS } = options
  return new LineFace(core, host, streams.input, streams.output, load, bounds)
}

const ALL: Scope = { kind: 'all' }

/** Newline-delimited JSON for one client, both eras on one stream. Garbage is answered, never fatal. */
class LineFace implements StdioFace {
  readonly closed: Promise<void>
  readonly #legacy: LegacyServer
  readonly #modern: ModernServer
  readonly #pace: Pace
  readonly #buffers: ClientBuffers
  readonly #out: Outflow
  /** One pipe is one session, whatever is spoken on it. */
  readonly #caller: Caller & { readonly session: object } = { principal: LOCAL, session: {} }
  readonly #running = new SmallTable<JsonRpcId, RunningCall>()
  #session: LegacySession | null = null
  #over = false
  #resolveClosed: () => void = () => undefined

  constructor(
    private readonly core: GatewayCore,
    private readonly host: Host,
    private readonly input: Readable,
    output: Writable,
    private readonly load: LoadView,
    bounds: BufferBounds,
  ) {
    this.#pace = new Pace(host.clock, load)
    this.#legacy = new LegacyServer(core, this.#pace)
    this.#modern = new ModernServer(core, this.#pace)
    this.#buffers = new ClientBuffers(host.clock, bounds)
    this.#out = new Outflow(output, this.#buffers, {
      // Who does not read its answers is not asked for more requests.
      drained: () => this.input.resume(),
      cut: () => this.close(),
    })
    const lines = new LineSplitter(LIMITS.bodyBytes, {
      line: bytes => this.#line(bytes),
      overflow: () => this.#refuse(-32700, `A message is larger than ${LIMITS.bodyBytes} bytes.`),
    })
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    const finish = () => this.close()
    input.on('data', (chunk: Buffer) => {
      if (!this.#over) lines.push(chunk)
    })
    input.on('end', finish)
    input.on('close', finish)
    // A broken pipe may report more than one error, and one that nobody hears would end the process.
    input.on('error', finish)
    output.on('error', finish)
    output.on('close', finish)
  }

  close(): void {
    if (this.#over) return
    this.#modern.close()
    if (this.core.draining) this.#session?.stop()
    this.#over = true
    this.#pace.stop()
    this.#buffers.stop()
    this.#session?.end('the client closed its end')
    for (const running of this.#running.values()) running.cancel('the client closed its end')
    this.#running.clear()
    this.core.endSession(this.#caller.session)
    this.#resolveClosed()
  }

  /** An answer: it is never left out. */
  #write(message: Bytes): void {
    if (this.#over) return
    this.#out.answer(encodeLine(message))
    this.#pauseIfBehind()
  }

  #tell(message: Bytes, slot: string | null): boolean {
    if (this.#over) return false
    const taken = this.#out.write(encodeLine(message), slot)
    this.#pauseIfBehind()
    return taken
  }

  #pauseIfBehind(): void {
    if (this.#out.bytes > LIMITS.clientBufferBytes && !this.input.isPaused()) this.input.pause()
  }

  #refuse(code: number, message: string, id: Bytes | null = null): void {
    this.#write(errorMessage(id, rpcError(code, message)))
  }

  /** The sink of one request: nothing comes after its answer. */
  #sink(ended: () => void = () => undefined): AnswerSink {
    let over = false
    return {
      interim: (message, slot) => !over && this.#tell(message, slot),
      final: message => {
        if (over) return
        over = true
        ended()
        this.#write(message)
      },
    }
  }

  #line(bytes: Bytes): void {
    if (this.#over) return
    try {
      if (!isUtf8(bytes)) throw new WireError(-32700, 'The message is not valid UTF-8.')
      if (looksLikeBatch(bytes)) this.#batch(bytes)
      else this.#message(scanEnvelope(bytes, CLIENT_SCAN))
    } catch (thrown) {
      if (thrown instanceof WireError) {
        return this.#refuse(thrown.rpcCode, thrown.message, thrown.id === null ? null : json(thrown.id))
      }
      const { rpcCode, message } = asError(thrown)
      this.#refuse(rpcCode, message)
    }
  }

  #batch(bytes: Bytes): void {
    const session = this.#session
    const envelopes = readBatch(session, bytes)
    if (!session) return
    const requests = envelopes.filter(envelope => envelope.kind === 'request')
    for (const envelope of envelopes) if (envelope.kind !== 'request') this.#take(envelope)
    const batch = new BatchSink(this.#sink(), requests.length, () => undefined)
    for (const envelope of requests) {
      const sink = batch.next()
      const fault = this.#fault(envelope)
      if (fault) sink.final(refusal(envelope, fault))
      else this.#legacy.serve(session, envelope, sink, () => batch.skip())
    }
  }

  #message(envelope: Envelope): void {
    if (envelope.kind !== 'request') return this.#take(envelope)
    const fault = this.#fault(envelope)
    if (fault) return this.#write(refusal(envelope, fault))
    const claim = classify(envelope)
    if (claim.kind !== 'none') return this.#serveModern(envelope, claim)
    if (envelope.method === 'initialize') return this.#initialize(envelope)
    if (this.#session) return this.#legacy.serve(this.#session, envelope, this.#sink(), () => undefined)
    const message = `${envelope.method} came before initialize; send that first, or a stateless request with params._meta.`
    this.#refuse(-32600, message, idBytes(envelope))
  }

  /** Both eras share the ids of the one stream. */
  #fault({ id, method }: Envelope): GatewayError | null {
    if (id === null || this.#running.has(id) || this.#session?.running.has(id)) return sameId()
    const inFlight = this.#running.size + (this.#session?.running.size ?? 0)
    return inFlight >= LIMITS.inFlightPerClient ? tooMany() : shed(this.load, method)
  }

  #initialize(envelope: Envelope): void {
    if (this.core.draining) return this.#write(refusal(envelope, stopping()))
    this.#session?.end('the client began a new session')
    const { session, answer } = beginSession(this.core, this.host.clock, envelope, ALL, 'stdio', this.#caller)
    this.#session = session
    session.openChannel({ send: (message, slot) => this.#tell(message, slot), end: () => undefined })
    this.#write(answer)
  }

  #serveModern(envelope: Envelope, claim: Exclude<Claim, { kind: 'none' }>): void {
    const { id } = envelope
    if (id === null) return
    const sink = this.#sink(() => this.#running.delete(id))
    const request = { envelope, claim, headers: null, scope: ALL, caller: this.#caller, sink }
    const running = this.#modern.serve(request)
    if (running) this.#running.set(id, running)
  }

  #take(envelope: Envelope): void {
    if (envelope.method === 'notifications/cancelled') this.#cancelModern(envelope)
    if (this.#session) this.#legacy.take(this.#session, envelope)
  }

  #cancelModern({ params, bytes }: Envelope): void {
    const found = params && member(params, 'requestId')
    if (!found) return
    const id = parseAt(bytes, found) as JsonRpcId
    this.#running.get(id)?.cancel('cancelled by the client')
    this.#running.delete(id)
  }
}

/** In the form that the request's own era and method want. */
function refusal(envelope: Envelope, error: GatewayError): Bytes {
  const extra = classify(envelope).kind === 'none' ? {} : { resultType: 'complete' }
  const final = encodeFailure(envelope.method ?? '', error, extra)
  const id = idBytes(envelope)
  return 'result' in final ? resultMessage(id, final.result) : errorMessage(id, final.error)
}
