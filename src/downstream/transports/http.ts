import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { LEGACY_VERSIONS, LIMITS, LOCAL, MODERN_VERSIONS, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, Timer } from '../../runtime/ports.js'
import {
  CLIENT_SCAN,
  type Envelope,
  idBytes,
  type JsonRpcId,
  json,
  looksLikeBatch,
  scanEnvelope,
  WireError,
} from '../../wire/index.js'
import { readBatch } from '../batch.js'
import { classify } from '../classify.js'
import { asError, stopping, tooMany } from '../failures.js'
import { LegacyServer } from '../legacy-server.js'
import type { LegacySession } from '../legacy-session.js'
import { ModernServer } from '../modern-server.js'
import { Pace } from '../pace.js'
import { type LoadView, NO_LOAD, shed } from '../shedder.js'
import { BatchSink } from './batch-sink.js'
import { BUFFER_BOUNDS, type BufferBounds, ClientBuffers } from './client-buffers.js'
import { type AnswerRoom, HttpAnswer } from './http-answer.js'
import {
  type Accepts,
  acceptsOf,
  header,
  INVALID_REQUEST,
  inboundHeaders,
  isJson,
  type Refusal,
  refuse,
  refuseFor,
  wrongVerb,
} from './http-request.js'
import { HttpSessions, NO_SUCH_SESSION } from './http-sessions.js'
import { KeepAlive } from './keep-alive.js'
import { Outflow, watchRest } from './outflow.js'
import { BodyReader } from './read-body.js'

export interface FaceOptions {
  readonly load?: LoadView
  readonly bounds?: BufferBounds
}

export interface HttpFace {
  /**
   * Serves one request to an MCP endpoint; the guard has let it in already.
   * @param principal whose it is; default: nobody is told apart
   */
  handle(req: IncomingMessage, res: ServerResponse, scope: Scope, principal?: string): void
  /** Gives up what the load calls for: old sessions, and at its worst the stream for which most waits. */
  relieve(): void
  /** What waits for clients that read too slowly, and what is kept for those that are gone. */
  readonly bufferedBytes: number
  readonly sessions: number
  /** For readers of other routes: what waits for them counts with what waits for clients. */
  readonly readers: {
    open(out: Writable, drained: () => void): Outflow
    watchRest(out: Writable): void
  }
  /** Ends every stream gracefully. */
  close(): void
}

export function createHttpFace(core: GatewayCore, host: Host, options: FaceOptions = {}): HttpFace {
  return new StreamableHttpFace(core, host, options.load ?? NO_LOAD, options.bounds ?? BUFFER_BOUNDS)
}

/** One POST, once its body is there. */
interface Posted {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly scope: Scope
  readonly principal: string
  readonly accepts: Accepts
}

/** Streamable HTTP for both eras on one URL. */
class StreamableHttpFace implements HttpFace {
  readonly #sessions: HttpSessions
  readonly #legacy: LegacyServer
  readonly #modern: ModernServer
  readonly #pace: Pace
  readonly #room: AnswerRoom
  readonly #bodies: BodyReader

  constructor(
    private readonly core: GatewayCore,
    private readonly host: Host,
    private readonly load: LoadView,
    bounds: BufferBounds,
  ) {
    this.#pace = new Pace(host.clock, load)
    this.#legacy = new LegacyServer(core, this.#pace)
    this.#modern = new ModernServer(core, this.#pace)
    this.#room = { keepAlive: new KeepAlive(host.clock), buffers: new ClientBuffers(host.clock, bounds) }
    this.#sessions = new HttpSessions(core, host, this.#room, load)
    this.#bodies = new BodyReader(LIMITS.bodyBytes, bounds.totalBytes)
  }

  handle(req: IncomingMessage, res: ServerResponse, scope: Scope, principal: string = LOCAL): void {
    switch (req.method) {
      case 'POST':
        return this.#post(req, res, scope, principal)
      case 'GET':
        return this.#sessions.listen(req, res, scope, principal)
      case 'DELETE':
        return this.#sessions.end(req, res, scope, principal)
      default:
        return refuse(res, wrongVerb(`${req.method} is not served here; use POST.`))
    }
  }

  readonly readers = {
    open: (out: Writable, drained: () => void) => new Outflow(out, this.#room.buffers, { drained }),
    watchRest: (out: Writable) => {
      if (out.writableLength > 0) watchRest(out, this.#room.buffers)
    },
  }

  get bufferedBytes(): number {
    return this.#room.buffers.bytes
  }

  get sessions(): number {
    return this.#sessions.size
  }

  relieve(): void {
    this.#sessions.sweep()
    if (this.load.level >= 3) this.#room.buffers.cutLargest()
  }

  close(): void {
    this.#modern.close()
    this.#sessions.close()
    this.#room.keepAlive.stop()
    this.#room.buffers.stop()
    this.#pace.stop()
  }

  #post(req: IncomingMessage, res: ServerResponse, scope: Scope, principal: string): void {
    if (!isJson(req)) return refuse(res, NOT_JSON)
    const accepts = acceptsOf(req)
    if (!accepts.json && !accepts.stream) return refuse(res, NOT_ACCEPTABLE)
    this.#bodies.read(req, {
      done: body => this.#take({ req, res, scope, principal, accepts }, body),
      tooLarge: () => refuse(res, TOO_LARGE),
      tooMany: () => refuse(res, TOO_MANY_BODIES),
    })
  }

  /** Nothing that one client sends may end the gateway, a fault of ours included. */
  #take(posted: Posted, body: Buffer): void {
    try {
      this.#read(posted, body)
    } catch (thrown) {
      if (posted.res.headersSent) return void posted.res.destroy()
      if (thrown instanceof WireError) {
        const { rpcCode, message, id } = thrown
        return refuse(posted.res, { status: 400, code: rpcCode, message, id: id === null ? null : json(id) })
      }
      const { rpcCode, message } = asError(thrown)
      refuse(posted.res, { status: 500, code: rpcCode, message })
    }
  }

  #read(posted: Posted, body: Buffer): void {
    if (!isUtf8(body)) throw new WireError(-32700, 'The body is not valid UTF-8.')
    if (looksLikeBatch(body)) return this.#batch(posted, body)
    const envelope = scanEnvelope(body, CLIENT_SCAN)
    if (envelope.kind === 'request') {
      const refusal = this.core.draining ? stopping() : shed(this.load, envelope.method)
      if (refusal) return refuseFor(posted.res, refusal, idBytes(envelope))
    }
    const claim = classify(envelope)
    if (claim.kind === 'none') return this.#postedLegacy(posted, envelope)
    const { req, res, scope, principal, accepts } = posted
    // Real clients still post `notifications/cancelled`; the closed stream has said it already.
    if (envelope.kind !== 'request') return accept(res)
    const inFlight = inFlightOn(req)
    if (inFlight.size >= LIMITS.inFlightPerClient) return refuseFor(res, tooMany(), idBytes(envelope))
    const sink = new HttpAnswer(res, accepts, this.#room)
    const headers = inboundHeaders(req)
    const running = this.#modern.serve({ envelope, claim, headers, scope, caller: { principal }, sink })
    if (!running) return
    inFlight.size += 1
    onEnd(res, () => {
      inFlight.size -= 1
      sink.abandon(() => {
        running.cancel('the client closed its stream')
        return null
      })
    })
  }

  #postedLegacy(posted: Posted, envelope: Envelope): void {
    const { req, res, scope, principal } = posted
    if (envelope.method === 'initialize' && envelope.kind === 'request')
      return this.#sessions.begin(res, scope, principal, posted.accepts, envelope)
    const found = this.#sessions.find(req, scope, principal)
    if (!found) return this.#refuseSessionless(req, res, envelope)
    const { session, shelf } = found
    const version = header(req, 'mcp-protocol-version')
    if (version !== undefined && !LEGACY_VERSIONS.includes(version)) {
      const message = `Protocol version ${JSON.stringify(version)} is not spoken in a session.`
      return refuse(res, { status: 400, code: INVALID_REQUEST, message, id: idBytes(envelope) })
    }
    if (envelope.kind !== 'request') {
      this.#legacy.take(session, envelope)
      return accept(res)
    }
    const sink = new HttpAnswer(res, posted.accepts, this.#room, undefined, shelf)
    this.#legacy.serve(session, envelope, sink, () => sink.drop())
    this.#letGoOn(res, sink, session, [envelope])
  }

  /** What the client of a session asked for goes on when its connection breaks. */
  #letGoOn(res: ServerResponse, sink: HttpAnswer, session: LegacySession, asked: readonly Envelope[]): void {
    if (sink.over) return
    onEnd(res, () => {
      if (sink.goesTo(res)) sink.abandon(() => this.#detach(session, asked))
    })
  }

  /** A plain disconnect of a legacy client is no cancel: its requests go on for a while. */
  #detach(session: LegacySession, envelopes: readonly Envelope[]): Timer {
    const running = envelopes.flatMap(({ id }): [JsonRpcId, unknown][] =>
      id === null ? [] : [[id, session.running.get(id)]],
    )
    return this.host.clock.after(LIMITS.detachedMs, () => {
      for (const [id, call] of running) {
        // The id may stand for a later request by now.
        if (call && session.running.get(id) === call) session.cancel(id, 'the client is gone')
      }
    })
  }

  #refuseSessionless(req: IncomingMessage, res: ServerResponse, envelope: Envelope): void {
    const isModern = MODERN_VERSIONS.includes(header(req, 'mcp-protocol-version') ?? '')
    // Stateless clients need no envelope on notifications, and have no sessions.
    if (isModern && envelope.kind === 'notification') return accept(res)
    const id = idBytes(envelope)
    if (header(req, 'mcp-session-id') !== undefined) return refuse(res, { ...NO_SUCH_SESSION, id })
    refuse(res, { ...(isModern ? NO_ENVELOPE : NO_SESSION), id })
  }

  /** Batches exist in one version of the protocol alone. */
  #batch({ req, res, scope, principal, accepts }: Posted, body: Buffer): void {
    const found = this.#sessions.find(req, scope, principal)
    const envelopes = readBatch(found?.session, body)
    if (!found) return
    const { session, shelf } = found
    const requests = envelopes.filter(envelope => envelope.kind === 'request')
    const refusal = this.core.draining ? stopping() : shed(this.load, null)
    if (requests.length > 0 && refusal) return refuseFor(res, refusal, null)
    for (const envelope of envelopes) if (envelope.kind !== 'request') this.#legacy.take(session, envelope)
    if (requests.length === 0) return accept(res)
    const answer = new HttpAnswer(res, accepts, this.#room, undefined, shelf)
    const batch = new BatchSink(answer, requests.length, () => answer.drop())
    for (const envelope of requests) this.#legacy.serve(session, envelope, batch.next(), () => batch.skip())
    this.#letGoOn(res, answer, session, requests)
  }
}

const NO_SESSION: Refusal = {
  status: 400,
  code: INVALID_REQUEST,
  message: 'The Mcp-Session-Id header is missing; send initialize first.',
}
const NO_ENVELOPE: Refusal = {
  status: 400,
  code: -32602,
  message:
    'params._meta must hold "io.modelcontextprotocol/protocolVersion" and "io.modelcontextprotocol/clientCapabilities".',
}
const NOT_JSON: Refusal = {
  status: 415,
  code: INVALID_REQUEST,
  message: 'The Content-Type must be application/json.',
}
const NOT_ACCEPTABLE: Refusal = {
  status: 406,
  code: INVALID_REQUEST,
  message: 'Accept application/json or text/event-stream, best both.',
}
const TOO_LARGE: Refusal = {
  status: 413,
  code: INVALID_REQUEST,
  message: `The body is larger than ${LIMITS.bodyBytes} bytes.`,
}

/** Too much of other bodies waits for its end; only a body in several pieces is refused for it. */
const TOO_MANY_BODIES: Refusal = {
  status: 503,
  code: 42901,
  message: 'Too many large requests arrive at once; try again in a moment.',
  headers: { 'retry-after': '1' },
}

function accept(res: ServerResponse): void {
  res.writeHead(202).end()
}

function onEnd(res: ServerResponse, ended: () => void): void {
  res.on('close', ended)
}

const IN_FLIGHT = Symbol('stateless requests in flight')

/** What one connection has in flight: a client may send its next request before the answer to the last. */
function inFlightOn({ socket }: IncomingMessage): { size: number } {
  const marked = socket as { [IN_FLIGHT]?: { size: number } }
  marked[IN_FLIGHT] ??= { size: 0 }
  return marked[IN_FLIGHT]
}
