import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionTable } from '../../core/session/index.js'
import { type Bytes, LEGACY_VERSIONS, LIMITS, MODERN_VERSIONS, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, RunningCall } from '../../runtime/ports.js'
import {
  CLIENT_SCAN,
  type Envelope,
  encodeEvent,
  errorMessage,
  json,
  looksLikeBatch,
  scanEnvelope,
  splitBatch,
  WireError,
} from '../../wire/index.js'
import { BATCH_VERSION, classify } from '../classify.js'
import { rpcError } from '../failures.js'
import type { InboundHeaders } from '../header-check.js'
import { beginSession, LegacyServer } from '../legacy-server.js'
import type { LegacySession } from '../legacy-session.js'
import { ModernServer } from '../modern-server.js'
import { BatchSink } from './batch-sink.js'
import { type Accepts, HttpAnswer } from './http-answer.js'
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
    this.#modern = new ModernServer(core)
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
        return refuse(res, 405, INVALID_REQUEST, `${req.method} is not served here; use POST.`, null, ALLOW)
    }
  }

  close(): void {
    this.#modern.close()
    for (const stream of [...this.#streams]) stream.close()
    for (const session of this.#sessions.values()) session.end('the gateway is stopping')
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
      return refuse(res, 406, INVALID_REQUEST, 'The stream is text/event-stream; accept it.', null)
    }
    const stream = new SessionStream(res, this.#keepAlive, () => {
      this.#streams.delete(stream)
      if (session.channel === channel) session.channel = null
    })
    const channel = (message: Bytes) => stream.write(encodeEvent(message))
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
    if (header(req, 'mcp-session-id') !== undefined)
      return refuse(res, 404, INVALID_REQUEST, NO_SUCH_SESSION, null)
    refuse(
      res,
      405,
      INVALID_REQUEST,
      `${req.method} needs a session; stateless clients use POST.`,
      null,
      ALLOW,
    )
  }

  // ---- POST -----------------------------------------------------------------------------------------------

  #post(req: IncomingMessage, res: ServerResponse, scope: Scope): void {
    if (!isJson(req)) {
      return refuse(res, 415, INVALID_REQUEST, 'The Content-Type must be application/json.', null)
    }
    const accepts = acceptsOf(req)
    if (!accepts.json && !accepts.stream) {
      return refuse(
        res,
        406,
        INVALID_REQUEST,
        'Accept application/json or text/event-stream, best both.',
        null,
      )
    }
    readBody(req, LIMITS.bodyBytes, {
      done: body => this.#posted(req, res, scope, accepts, body),
      tooLarge: () => {
        const message = `The body is larger than ${LIMITS.bodyBytes} bytes.`
        refuse(res, 413, INVALID_REQUEST, message, null)
      },
    })
  }

  #posted(req: IncomingMessage, res: ServerResponse, scope: Scope, accepts: Accepts, body: Buffer): void {
    if (!isUtf8(body)) return refuse(res, 400, -32700, 'The body is not valid UTF-8.', null)
    if (looksLikeBatch(body)) return this.#batch(req, res, scope, accepts, body)
    let envelope: Envelope
    try {
      envelope = scanEnvelope(body, CLIENT_SCAN)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      return refuse(res, 400, thrown.rpcCode, thrown.message, thrown.id)
    }
    const claim = classify(envelope)
    if (claim.kind === 'none') return this.#postedLegacy(req, res, scope, accepts, envelope)
    if (envelope.kind !== 'request') {
      // Real clients still post `notifications/cancelled`; the closed stream has said it already.
      res.writeHead(202).end()
      return
    }
    const sink = new HttpAnswer(res, accepts, this.#keepAlive)
    const headers = inboundHeaders(req)
    const running = this.#modern.serve({ envelope, claim, headers, scope, principal: PRINCIPAL, sink })
    if (running) onDisconnect(res, sink, () => running.cancel('the client closed its stream'))
  }

  #postedLegacy(
    req: IncomingMessage,
    res: ServerResponse,
    scope: Scope,
    accepts: Accepts,
    envelope: Envelope,
  ): void {
    if (envelope.method === 'initialize' && envelope.kind === 'request') {
      return this.#initialize(res, scope, accepts, envelope)
    }
    const session = this.#sessionFor(req, scope)
    if (!session) return this.#refuseSessionless(req, res, envelope)
    const version = header(req, 'mcp-protocol-version')
    if (version !== undefined && !LEGACY_VERSIONS.includes(version)) {
      const message = `Protocol version ${JSON.stringify(version)} is not spoken in a session.`
      return refuse(res, 400, INVALID_REQUEST, message, envelope.id)
    }
    if (envelope.kind !== 'request') {
      this.#legacy.take(session, envelope)
      res.writeHead(202).end()
      return
    }
    this.#serve(session, res, accepts, envelope)
  }

  /** A plain disconnect of a legacy client is no cancel: the call goes on for a while. */
  #serve(session: LegacySession, res: ServerResponse, accepts: Accepts, envelope: Envelope): void {
    const sink = new HttpAnswer(res, accepts, this.#keepAlive)
    this.#legacy.serve(session, envelope, sink, () => sink.drop())
    if (sink.over) return
    onDisconnect(res, sink, () => {
      const running = envelope.id === null ? undefined : session.running.get(envelope.id)
      if (running) this.host.clock.after(LIMITS.detachedMs, () => this.#forget(session, envelope, running))
    })
  }

  #forget(session: LegacySession, { id }: Envelope, running: RunningCall): void {
    if (id !== null && session.running.get(id) === running) session.cancel(id, 'the client is gone')
  }

  #initialize(res: ServerResponse, scope: Scope, accepts: Accepts, envelope: Envelope): void {
    const id = this.host.random.token(16)
    const { session, answer } = beginSession(this.core, envelope, scope, id, PRINCIPAL)
    const removed = this.#sessions.add(id, session, this.host.clock.now())
    if (removed === null) {
      const message = `There are ${LIMITS.sessions} sessions in use; try again later.`
      return refuse(res, 503, INVALID_REQUEST, message, envelope.id, { 'retry-after': '5' })
    }
    for (const old of removed) old.end('the session was idle for too long')
    new HttpAnswer(res, accepts, this.#keepAlive, { 'mcp-session-id': id }).final(answer)
  }

  #refuseSessionless(req: IncomingMessage, res: ServerResponse, envelope: Envelope): void {
    if (header(req, 'mcp-session-id') !== undefined) {
      return refuse(res, 404, INVALID_REQUEST, NO_SUCH_SESSION, envelope.id)
    }
    if (MODERN_VERSIONS.includes(header(req, 'mcp-protocol-version') ?? '')) {
      const keys =
        '"io.modelcontextprotocol/protocolVersion" and "io.modelcontextprotocol/clientCapabilities"'
      return refuse(res, 400, -32602, `params._meta must hold ${keys}.`, envelope.id)
    }
    refuse(
      res,
      400,
      INVALID_REQUEST,
      'The Mcp-Session-Id header is missing; send initialize first.',
      envelope.id,
    )
  }

  /** Batches exist in one version of the protocol alone. */
  #batch(req: IncomingMessage, res: ServerResponse, scope: Scope, accepts: Accepts, body: Buffer): void {
    const session = this.#sessionFor(req, scope)
    if (session?.version !== BATCH_VERSION) {
      return refuse(res, 400, INVALID_REQUEST, 'Batches are not part of this protocol version.', null)
    }
    let envelopes: Envelope[]
    try {
      envelopes = splitBatch(body, LIMITS.batch).map(bytes => scanEnvelope(bytes, CLIENT_SCAN))
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      return refuse(res, 400, thrown.rpcCode, thrown.message, thrown.id)
    }
    const requests = envelopes.filter(envelope => envelope.kind === 'request')
    for (const envelope of envelopes) if (envelope.kind !== 'request') this.#legacy.take(session, envelope)
    if (requests.length === 0) {
      res.writeHead(202).end()
      return
    }
    const answer = new HttpAnswer(res, accepts, this.#keepAlive)
    const batch = new BatchSink(answer, requests.length)
    for (const envelope of requests) this.#legacy.serve(session, envelope, batch.next(), () => batch.skip())
    onDisconnect(res, answer, () => undefined)
  }
}

const ALLOW = { allow: 'POST' }
const NO_SUCH_SESSION = 'This session does not exist or has ended; send initialize again.'

function sameScope(a: Scope, b: Scope): boolean {
  return a.kind === 'all' ? b.kind === 'all' : b.kind === 'server' && a.name === b.name
}

function header(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name]
  return Array.isArray(value) ? value[0] : value
}

function isJson(req: IncomingMessage): boolean {
  const type = req.headers['content-type']
  return type === 'application/json' || /^application\/json\s*(;|$)/i.test(type ?? '')
}

const BOTH: Accepts = { json: true, stream: true }

function acceptsOf(req: IncomingMessage): Accepts {
  const { accept } = req.headers
  if (accept === undefined || accept === 'application/json, text/event-stream') return BOTH
  const types = accept.split(',').map(part => part.split(';')[0]?.trim().toLowerCase())
  const any = types.includes('*/*')
  return {
    json: any || types.includes('application/json') || types.includes('application/*'),
    stream: any || types.includes('text/event-stream') || types.includes('text/*'),
  }
}

function inboundHeaders(req: IncomingMessage): InboundHeaders {
  const params = new Map<string, string>()
  for (const [name, value] of Object.entries(req.headers)) {
    if (name.startsWith('mcp-param-') && typeof value === 'string')
      params.set(name.slice('mcp-param-'.length), value)
  }
  return {
    version: header(req, 'mcp-protocol-version'),
    method: header(req, 'mcp-method'),
    name: header(req, 'mcp-name'),
    params,
  }
}

function onDisconnect(res: ServerResponse, sink: HttpAnswer, gone: () => void): void {
  res.on('close', () => {
    if (sink.over) return
    sink.abandon()
    gone()
  })
}

/** A refusal before any method was looked at. */
function refuse(
  res: ServerResponse,
  status: number,
  code: number,
  message: string,
  id: string | number | null,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = errorMessage(id === null ? null : json(id), rpcError(code, message))
  res.writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': body.length })
  res.end(body)
}
