import type { Readable, Writable } from 'node:stream'
import { type Bytes, LIMITS, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, RunningCall } from '../../runtime/ports.js'
import {
  CLIENT_SCAN,
  type Envelope,
  encodeLine,
  errorMessage,
  type JsonRpcId,
  json,
  LineSplitter,
  looksLikeBatch,
  member,
  parseAt,
  scanEnvelope,
  splitBatch,
  WireError,
} from '../../wire/index.js'
import { BATCH_VERSION, classify } from '../classify.js'
import { rpcError } from '../failures.js'
import { beginSession, LegacyServer } from '../legacy-server.js'
import type { LegacySession } from '../legacy-session.js'
import { ModernServer } from '../modern-server.js'
import type { AnswerSink } from '../sink.js'
import { BatchSink } from './batch-sink.js'

export interface StdioFace {
  /** Resolves when the client has closed its end, or its pipe broke. */
  readonly closed: Promise<void>
  close(): void
}

export function createStdioFace(
  core: GatewayCore,
  host: Host,
  streams: { readonly input: Readable; readonly output: Writable },
): StdioFace {
  return new LineFace(core, host, streams.input, streams.output)
}

const ALL: Scope = { kind: 'all' }
const PRINCIPAL = 'local'

/** Newline-delimited JSON for one client, both eras on one stream. Garbage is answered, never fatal. */
class LineFace implements StdioFace {
  readonly closed: Promise<void>
  readonly #legacy: LegacyServer
  readonly #modern: ModernServer
  readonly #running = new Map<JsonRpcId, RunningCall>()
  #session: LegacySession | null = null
  #over = false

  constructor(
    private readonly core: GatewayCore,
    host: Host,
    input: Readable,
    private readonly output: Writable,
  ) {
    this.#legacy = new LegacyServer(core, host.clock)
    this.#modern = new ModernServer(core)
    const lines = new LineSplitter(LIMITS.bodyBytes, {
      line: bytes => this.#line(bytes),
      overflow: () => this.#write(parseFault(`A message is larger than ${LIMITS.bodyBytes} bytes.`)),
    })
    this.closed = new Promise(resolve => {
      const finish = () => {
        this.close()
        resolve()
      }
      input.on('data', (chunk: Buffer) => lines.push(chunk))
      input.once('end', finish)
      input.once('error', finish)
      output.once('error', finish)
      output.once('close', finish)
    })
  }

  close(): void {
    if (this.#over) return
    this.#modern.close()
    this.#over = true
    this.#session?.end('the client closed its end')
    for (const running of this.#running.values()) running.cancel('the client closed its end')
    this.#running.clear()
  }

  #write(message: Bytes): void {
    if (!this.#over) this.output.write(encodeLine(message))
  }

  readonly #sink: AnswerSink = {
    interim: (message, droppable) => {
      if (!droppable || this.output.writableLength <= LIMITS.clientBufferBytes) this.#write(message)
      return true
    },
    final: message => this.#write(message),
  }

  #line(bytes: Bytes): void {
    if (this.#over) return
    try {
      if (looksLikeBatch(bytes)) this.#batch(bytes)
      else this.#message(scanEnvelope(bytes, CLIENT_SCAN), this.#sink, () => undefined)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      this.#write(
        errorMessage(thrown.id === null ? null : json(thrown.id), rpcError(thrown.rpcCode, thrown.message)),
      )
    }
  }

  #batch(bytes: Bytes): void {
    if (this.#session?.version !== BATCH_VERSION) {
      throw new WireError(-32600, 'Batches are not part of this protocol version.')
    }
    const envelopes = splitBatch(bytes, LIMITS.batch).map(part => scanEnvelope(part, CLIENT_SCAN))
    const batch = new BatchSink(this.#sink, envelopes.filter(envelope => envelope.kind === 'request').length)
    for (const envelope of envelopes) {
      this.#message(envelope, envelope.kind === 'request' ? batch.next() : this.#sink, () => batch.skip())
    }
  }

  #message(envelope: Envelope, sink: AnswerSink, dropped: () => void): void {
    const claim = classify(envelope)
    if (envelope.kind === 'request' && claim.kind !== 'none') return this.#serveModern(envelope, claim, sink)
    if (envelope.method === 'initialize' && envelope.kind === 'request')
      return this.#initialize(envelope, sink)
    if (envelope.kind !== 'request') return this.#take(envelope)
    if (this.#session) return this.#legacy.serve(this.#session, envelope, sink, dropped)
    const message = `${envelope.method} came before initialize; send that first, or a stateless request with params._meta.`
    sink.final(errorMessage(json(envelope.id), rpcError(-32600, message)))
  }

  #initialize(envelope: Envelope, sink: AnswerSink): void {
    this.#session?.end('the client began a new session')
    const { session, answer } = beginSession(this.core, envelope, ALL, 'stdio', PRINCIPAL)
    this.#session = session
    session.openChannel(message => this.#write(message))
    sink.final(answer)
  }

  #serveModern(
    envelope: Envelope,
    claim: Parameters<ModernServer['serve']>[0]['claim'],
    sink: AnswerSink,
  ): void {
    const { id } = envelope
    if (id === null) return
    if (this.#running.has(id)) {
      return sink.final(
        errorMessage(json(id), rpcError(-32600, 'A request with this id is still in flight.')),
      )
    }
    const forgetting: AnswerSink = {
      interim: (message, droppable) => sink.interim(message, droppable),
      final: message => {
        this.#running.delete(id)
        sink.final(message)
      },
    }
    const running = this.#modern.serve({
      envelope,
      claim,
      headers: null,
      scope: ALL,
      principal: PRINCIPAL,
      sink: forgetting,
    })
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

function parseFault(message: string): Bytes {
  return errorMessage(null, rpcError(-32700, message))
}
