import {
  type Bytes,
  type Call,
  type CallContext,
  type Caller,
  EMPTY_OBJECT,
  type GatewayError,
  type Kind,
  LEGACY_VERSIONS,
  LIMITS,
  LIST_METHOD,
  NEWEST_LEGACY,
  type Scope,
} from '../model/index.js'
import type { Clock, GatewayCore } from '../runtime/ports.js'
import {
  type Envelope,
  errorMessage,
  idBytes,
  json,
  member,
  parseAt,
  resultMessage,
  slice,
  stringAt,
  typeAt,
} from '../wire/index.js'
import { CallNotes } from './call-notes.js'
import { encodeLegacy, legacyTool } from './eras/legacy.js'
import { asError, encodeFailure, type Final, rpcError, sameId, stopping, tooMany } from './failures.js'
import { LegacyCall } from './legacy-call.js'
import { LegacySession, type SessionRequest } from './legacy-session.js'
import { cursorOf, encodeList, listedKind } from './lists.js'
import type { Pace } from './pace.js'
import type { AnswerSink } from './sink.js'

const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** Offered in no handshake; passed on to a server, they would change what its other clients share. */
const NOT_OFFERED = new Set(['server/discover', 'subscriptions/listen'])

/** The handshake. A client that names no version that is spoken here gets the newest one of its era. */
export function beginSession(
  core: GatewayCore,
  clock: Clock,
  envelope: Envelope,
  scope: Scope,
  id: string,
  caller: Caller,
): { readonly session: LegacySession; readonly answer: Bytes } {
  const { params, bytes } = envelope
  const text = (key: string) => {
    const found = params && member(params, key)
    return found ? stringAt(bytes, found) : undefined
  }
  const object = (key: string): Bytes | undefined => {
    const found = params && member(params, key)
    return found && typeAt(bytes, found) === 'object' ? Buffer.from(slice(bytes, found)) : undefined
  }
  const asked = text('protocolVersion') ?? ''
  const version = LEGACY_VERSIONS.includes(asked) ? asked : NEWEST_LEGACY
  const session = new LegacySession(
    id,
    scope,
    caller,
    version,
    object('capabilities') ?? EMPTY_OBJECT,
    object('clientInfo'),
    clock,
  )
  const { serverInfo, capabilities, instructions } = core.offer(scope, caller)
  const result = {
    protocolVersion: version,
    capabilities,
    serverInfo,
    ...(instructions ? { instructions } : {}),
  }
  return { session, answer: resultMessage(idBytes(envelope), json(result)) }
}

/** Serves the requests of one legacy session, over whatever transport it came. */
export class LegacyServer {
  constructor(
    private readonly core: GatewayCore,
    private readonly pace: Pace,
  ) {}

  /** Notifications and answers of the client. */
  take(session: LegacySession, envelope: Envelope): void {
    if (envelope.kind === 'result' || envelope.kind === 'error') return session.answered(envelope)
    if (envelope.method === 'notifications/initialized') {
      session.watch(listener => this.core.onListChanged(session.scope, listener, session.caller))
    } else if (envelope.method === 'notifications/cancelled') this.#cancel(session, envelope)
  }

  #cancel(session: LegacySession, { params, bytes }: Envelope): void {
    const found = params && member(params, 'requestId')
    if (!params || !found) return
    const id = parseAt(bytes, found)
    const why = member(params, 'reason')
    const reason = (why && stringAt(bytes, why)) ?? 'cancelled by the client'
    if (typeof id === 'string' || typeof id === 'number') session.cancel(id, reason)
  }

  /**
   * One request; its answer goes to `sink` exactly once, unless the client cancels it.
   * @param dropped called instead of an answer
   */
  serve(session: LegacySession, envelope: Envelope, sink: AnswerSink, dropped: () => void): void {
    const id = Buffer.from(idBytes(envelope))
    const answer = (final: Final) =>
      sink.final(
        'result' in final ? resultMessage(id, final.result) : errorMessage(id, final.error),
        final.status,
      )
    const method = envelope.method ?? ''
    const refusal = this.#refuse(session, envelope)
    if (refusal) return answer(encodeFailure(method, refusal))
    const kind = listedKind(method)
    if (kind) return this.#list(kind, session, envelope, answer, dropped)
    switch (method) {
      case 'ping':
        return answer({ result: EMPTY_OBJECT })
      case 'initialize':
        return answer({ error: rpcError(-32600, 'This session is initialized already.') })
      case 'logging/setLevel':
        return answer(setLogLevel(session, envelope))
      case 'resources/subscribe':
        return this.#subscribe(session, envelope, answer, dropped)
      case 'resources/unsubscribe':
        return answer(unsubscribe(session, envelope))
      default:
        if (NOT_OFFERED.has(method)) return answer({ error: rpcError(-32601, `Method not found: ${method}`) })
        return this.#call(session, envelope, sink, answer, dropped)
    }
  }

  #refuse(session: LegacySession, { id }: Envelope): GatewayError | null {
    if (id === null || session.running.has(id)) return sameId()
    if (session.running.size >= LIMITS.inFlightPerClient) return tooMany()
    return this.core.draining ? stopping() : null
  }

  /** Counts the request as running until `finish`, or until the client cancels it. */
  #run(
    session: LegacySession,
    { id, method }: Envelope,
    answer: (final: Final) => void,
    dropped: () => void,
  ): (final: Final) => void {
    if (id === null) return answer
    const finish = (final: Final) => {
      if (session.running.get(id) !== running) return
      session.running.delete(id)
      answer(final)
    }
    const stop = () => finish(encodeFailure(method ?? '', stopping()))
    const running: SessionRequest = { cancel: dropped, stop }
    session.running.set(id, running)
    return finish
  }

  #subscribe(
    session: LegacySession,
    envelope: Envelope,
    answer: (final: Final) => void,
    dropped: () => void,
  ): void {
    const uri = uriOf(envelope)
    if (uri === undefined) return answer({ error: rpcError(-32602, NO_URI) })
    const finish = this.#run(session, envelope, answer, dropped)
    session.follow(this.core, uri, refusal => {
      const { method, params } = envelope
      const final = refusal && encodeLegacy({ method: method ?? '', params }, refusal)
      finish(final ?? { result: EMPTY_OBJECT })
    })
  }

  #list(
    kind: Kind,
    session: LegacySession,
    envelope: Envelope,
    answer: (final: Final) => void,
    dropped: () => void,
  ): void {
    const finish = this.#run(session, envelope, answer, dropped)
    void this.#page(kind, session, envelope).then(
      result => finish({ result }),
      thrown => finish(encodeFailure(LIST_METHOD[kind], asError(thrown))),
    )
  }

  async #page(kind: Kind, session: LegacySession, envelope: Envelope): Promise<Bytes> {
    const page = await this.core.list(kind, session.scope, cursorOf(envelope), session.caller)
    return encodeList(kind, page, {}, '', kind === 'tools' ? legacyTool : undefined)
  }

  #call(
    session: LegacySession,
    envelope: Envelope,
    sink: AnswerSink,
    answer: (final: Final) => void,
    dropped: () => void,
  ): void {
    const { id } = envelope
    if (id === null) return
    const notes = new CallNotes(this.pace, this.core, session.scope, session.caller, envelope, sink)
    const call: Call = {
      method: envelope.method ?? '',
      params: envelope.params,
      context: contextFor(session, envelope, sink, notes),
    }
    const running = new LegacyCall(this.core, this.pace.clock, session, call, sink).start(outcome => {
      session.running.delete(id)
      session.withdraw(sink)
      const final = encodeLegacy(call, outcome)
      if (!final) return
      notes.flush()
      answer(final)
    })
    session.running.set(id, {
      cancel: reason => {
        running.cancel(reason)
        session.withdraw(sink)
        notes.drop()
        dropped()
      },
      stop: () => running.stop(),
    })
  }
}

function contextFor(
  session: LegacySession,
  envelope: Envelope,
  sink: AnswerSink,
  notes: CallNotes,
): CallContext {
  const { meta, bytes } = envelope
  const found = meta && member(meta, 'progressToken')
  const token = found ? Buffer.from(slice(bytes, found)) : undefined
  const { caller, clientInfo, logLevel } = session
  // Member by member: on the way of each call, spreading costs more than all the rest of this.
  const context: { -readonly [Key in keyof CallContext]: CallContext[Key] } = {
    principal: caller.principal,
    scope: session.scope,
    era: 'legacy',
    capabilities: session.capabilities,
    onLog: params => notes.log(params),
  }
  if (caller.session) context.session = caller.session
  if (clientInfo) context.clientInfo = clientInfo
  if (logLevel !== null) context.logLevel = logLevel
  if (token) context.onProgress = params => notes.progress(params, token)
  if (session.canBeAsked) context.onAsk = ask => session.ask(ask, sink)
  return context
}

const NO_URI = 'params.uri must be a string.'

function uriOf({ params, bytes }: Envelope): string | undefined {
  const found = params && member(params, 'uri')
  return found ? stringAt(bytes, found) : undefined
}

/** Of what was never subscribed to, too: afterwards it is so. */
function unsubscribe(session: LegacySession, envelope: Envelope): Final {
  const uri = uriOf(envelope)
  if (uri === undefined) return { error: rpcError(-32602, NO_URI) }
  session.unfollow(uri)
  return { result: EMPTY_OBJECT }
}

function setLogLevel(session: LegacySession, { params, bytes }: Envelope): Final {
  const found = params && member(params, 'level')
  const level = found ? stringAt(bytes, found) : undefined
  if (level === undefined || !LOG_LEVELS.includes(level)) {
    return { error: rpcError(-32602, `params.level must be one of ${LOG_LEVELS.join(', ')}.`) }
  }
  session.logLevel = level
  return { result: EMPTY_OBJECT }
}
