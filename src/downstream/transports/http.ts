import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionTable } from '../../core/session/index.js'
import { type Bytes, LEGACY_VERSIONS, LIMITS, MODERN_VERSIONS, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, Timer } from '../../runtime/ports.js'
import {
  CLIENT_SCAN,
  type Envelope,
  encodeEvent,
  idBytes,
  type JsonRpcId,
  json,
  looksLikeBatch,
  scanEnvelope,
  WireError,
} from '../../wire/index.js'
import { readBatch } from '../batch.js'
import { classify } from '../classify.js'
import { asError, stopping } from '../failures.js'
import { beginSession, LegacyServer } from '../legacy-server.js'
import type { Channel, LegacySession } from '../legacy-session.js'
import { ModernServer } from '../modern-server.js'
import { BatchSink } from './batch-sink.js'
import { HttpAnswer } from './http-answer.js'
import {
  type Accepts,
  acceptsOf,
  header,
  inboundHeaders,
  isJson,
  type Refusal,
  refuse,
} from './http-request.js'
import { KeepAlive } from './keep-alive.js'
import { readBody } from './read-body.js'
import { SessionStream } from './session-stream.js'

export interface HttpFace {
  /** Serves one request to an MCP endpoint; the guard has let it in already. */
  handle(req: IncomingMessage, res: ServerResponse, scope: Scope): void
  /** Ends every stream gracefully. */
  close(): void
}

export function createHttpFace(core: GatewayCore, host: Host): HttpFace {
  return new StreamableHttpFace(core, host)
}

const PRINCIPAL = 'local'
const INVALID_REQUEST = -32600

/** One POST, once its body is there. */
interface Posted {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly scope: Scope
  readonly accepts: Accepts
}

/** Streamable HTTP for both eras on one URL. */
class StreamableHttpFace implements HttpFace {
  readonly #sessions = new SessionTable<LegacySession>(
    LIMITS.sessions,
    LIMITS.sessionIdleMs,
    session => session.busy,
  )
  readonly #legacy: LegacyServer
  readonly #modern: ModernServer
  readonly #keepAlive: KeepAlive
  readonly #streams = new Set<SessionStream>()

  constructor(
    private readonly core: GatewayCore,
    private readonly host: Host,
  ) {
    this.#legacy = new LegacyServer(core, host.clock)
    this.#modern = new ModernServer(core, host.clock)
    this.#keepAlive = new KeepAlive(host.clock)
  }

  handle(req: IncomingMessage, res: ServerResponse, scope: Scope): void {
    switch (req.method) {
      case 'POST':
        return this.#post(req, res, scope)
      case 'GET':
        return this.#openStream(req, res, scope)
      case 'DELETE':
        return this.#endSession(req, res, scope)
      default:
        return refuse(res, wrongVerb(`${req.method} is not served here; use POST.`))
    }
  }

  close(): void {
    this.#modern.close()
    for (const session of this.#sessions.values()) session.end('the gateway is stopping')
    for (const stream of [...this.#streams]) stream.close()
    this.#keepAlive.stop()
  }

  // ---- GET and DELETE: legacy sessions only ---------------------------------------------------------------

  #sessionFor(req: IncomingMessage, scope: Scope): LegacySession | undefined {
    const id = header(req, 'mcp-session-id')
    const session = id === undefined ? undefined : this.#sessions.use(id, this.host.clock.now())
    return session && sameScope(session.scope, scope) ? session : undefined
  }

  #openStream(req: IncomingMessage, res: ServerResponse, scope: Scope): void {
    const session = this.#sessionFor(req, scope)
    if (!session) return this.#noSession(req, res)
    if (!acceptsOf(req).stream) {
      return refuse(res, {
        status: 406,
        code: INVALID_REQUEST,
        message: 'The stream is text/event-stream; accept it.',
      })
    }
    const channel: Channel = {
      send: message => stream.write(encodeEvent(message)),
      end: () => stream.close(),
    }
    const stream = new SessionStream(res, this.#keepAlive, () => {
      this.#streams.delete(stream)
      session.closeChannel(channel)
    })
    this.#streams.add(stream)
    session.openChannel(channel)
  }

  #endSession(req: IncomingMessage, res: ServerResponse, scope: Scope): void {
    const session = this.#sessionFor(req, scope)
    if (!session) return this.#noSession(req, res)
    this.#sessions.remove(session.id)
    session.end('the client ended its session')
    res.writeHead(204).end()
  }

  #noSession(req: IncomingMessage, res: ServerResponse): void {
    if (header(req, 'mcp-session-id') !== undefined) return refuse(res, NO_SUCH_SESSION)
    refuse(res, wrongVerb(`${req.method} needs a session; stateless clients use POST.`))
  }

  // ---- POST -----------------------------------------------------------------------------------------------

  #post(req: IncomingMessage, res: ServerResponse, scope: Scope): void {
    if (!isJson(req)) return refuse(res, NOT_JSON)
    const accepts = acceptsOf(req)
    if (!accepts.json && !accepts.stream) return refuse(res, NOT_ACCEPTABLE)
    readBody(req, LIMITS.bodyBytes, {
      done: body => this.#take({ req, res, scope, accepts }, body),
      tooLarge: () => refuse(res, TOO_LARGE),
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
    if (envelope.kind === 'request' && this.core.draining)
      return refuseStopping(posted.res, idBytes(envelope))
    const claim = classify(envelope)
    if (claim.kind === 'none') return this.#postedLegacy(posted, envelope)
    const { req, res, scope, accepts } = posted
    // Real clients still post `notifications/cancelled`; the closed stream has said it already.
    if (envelope.kind !== 'request') return accept(res)
    const sink = new HttpAnswer(res, accepts, this.#keepAlive)
    const headers = inboundHeaders(req)
    const running = this.#modern.serve({ envelope, claim, headers, scope, principal: PRINCIPAL, sink })
    if (running) {
      onDisconnect(res, sink, () => {
        running.cancel('the client closed its stream')
        return null
      })
    }
  }

  #postedLegacy(posted: Posted, envelope: Envelope): void {
    const { req, res, scope } = posted
    if (envelope.method === 'initialize' && envelope.kind === 'request')
      return this.#initialize(posted, envelope)
    const session = this.#sessionFor(req, scope)
    if (!session) return this.#refuseSessionless(req, res, envelope)
    const version = header(req, 'mcp-protocol-version')
    if (version !== undefined && !LEGACY_VERSIONS.includes(version)) {
      const message = `Protocol version ${JSON.stringify(version)} is not spoken in a session.`
      return refuse(res, { status: 400, code: INVALID_REQUEST, message, id: idBytes(envelope) })
    }
    if (envelope.kind !== 'request') {
      this.#legacy.take(session, envelope)
      return accept(res)
    }
    const sink = new HttpAnswer(res, posted.accepts, this.#keepAlive)
    this.#legacy.serve(session, envelope, sink, () => sink.drop())
    if (!sink.over) onDisconnect(res, sink, () => this.#detach(session, [envelope]))
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

  #initialize({ res, scope, accepts }: Posted, envelope: Envelope): void {
    const id = this.host.random.token(16)
    const { clock } = this.host
    const { session, answer } = beginSession(this.core, clock, envelope, scope, id, PRINCIPAL)
    const removed = this.#sessions.add(id, session, clock.now())
    if (removed === null) {
      const message = `There are ${LIMITS.sessions} sessions in use; try again later.`
      const headers = { 'retry-after': '5' }
      return refuse(res, { status: 503, code: INVALID_REQUEST, message, id: idBytes(envelope), headers })
    }
    for (const old of removed) old.end('the session was idle for too long')
    new HttpAnswer(res, accepts, this.#keepAlive, { 'mcp-session-id': id }).final(answer)
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
  #batch({ req, res, scope, accepts }: Posted, body: Buffer): void {
    const session = this.#sessionFor(req, scope)
    const envelopes = readBatch(session, body)
    if (!session) return
    const requests = envelopes.filter(envelope => envelope.kind === 'request')
    if (requests.length > 0 && this.core.draining) return refuseStopping(res, null)
    for (const envelope of envelopes) if (envelope.kind !== 'request') this.#legacy.take(session, envelope)
    if (requests.length === 0) return accept(res)
    const answer = new HttpAnswer(res, accepts, this.#keepAlive)
    const batch = new BatchSink(answer, requests.length, () => answer.drop())
    for (const envelope of requests) this.#legacy.serve(session, envelope, batch.next(), () => batch.skip())
    if (!answer.over) onDisconnect(res, answer, () => this.#detach(session, requests))
  }
}

const NO_SUCH_SESSION: Refusal = {
  status: 404,
  code: INVALID_REQUEST,
  message: 'This session does not exist or has ended; send initialize again.',
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

function wrongVerb(message: string): Refusal {
  return { status: 405, code: INVALID_REQUEST, message, headers: { allow: 'POST' } }
}

function refuseStopping(res: ServerResponse, id: Bytes | null): void {
  const error = stopping()
  const { rpcCode: code, message, details } = error
  const headers = { 'retry-after': String(Math.ceil((details.retryAfterMs ?? 0) / 1_000)) }
  refuse(res, { status: 503, code, message, id, headers, data: error.toFailure() })
}

function accept(res: ServerResponse): void {
  res.writeHead(202).end()
}

function sameScope(a: Scope, b: Scope): boolean {
  return a.kind === 'all' ? b.kind === 'all' : b.kind === 'server' && a.name === b.name
}

/** @param gone what still runs ends by the timer that it returns, if any */
function onDisconnect(res: ServerResponse, sink: HttpAnswer, gone: () => Timer | null): void {
  res.on('close', () => {
    if (!sink.over) sink.abandon(gone())
  })
}
