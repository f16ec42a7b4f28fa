import {
  type Bytes,
  type Call,
  type CallContext,
  GatewayError,
  isGatewayError,
  LEGACY_VERSIONS,
  LIMITS,
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
  notificationMessage,
  parseAt,
  resultMessage,
  slice,
  stringAt,
  typeAt,
} from '../wire/index.js'
import { encodeLegacy, legacyTool } from './eras/legacy.js'
import { retoken } from './eras/modern.js'
import { encodeFailure, type Final, rpcError } from './failures.js'
import { LegacyCall } from './legacy-call.js'
import { LegacySession } from './legacy-session.js'
import { cursorOf, encodeList, listedKind } from './lists.js'
import type { AnswerSink } from './sink.js'

const EMPTY_RESULT = Buffer.from('{}')
const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** The handshake: null when the params are none. */
export function beginSession(
  core: GatewayCore,
  envelope: Envelope,
  scope: Scope,
  id: string,
  principal: string,
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
    principal,
    version,
    object('capabilities') ?? EMPTY_RESULT,
    object('clientInfo'),
  )
  const { serverInfo, capabilities, instructions } = core.offer(scope)
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
    private readonly clock: Clock,
  ) {}

  /** Notifications and answers of the client. */
  take(session: LegacySession, envelope: Envelope): void {
    if (envelope.kind === 'result' || envelope.kind === 'error') return session.answered(envelope)
    if (envelope.method === 'notifications/initialized') {
      session.watch(listener => this.core.onListChanged(session.scope, listener))
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
    const kind = listedKind(method)
    if (kind) {
      this.core.list(kind, session.scope, cursorOf(envelope)).then(
        page => answer({ result: encodeList(kind, page, {}, '', kind === 'tools' ? legacyTool : undefined) }),
        thrown => answer(encodeFailure(method, asError(thrown))),
      )
      return
    }
    switch (method) {
      case 'ping':
        return answer({ result: EMPTY_RESULT })
      case 'initialize':
        return answer({ error: rpcError(-32600, 'This session is initialized already.') })
      case 'logging/setLevel':
        return answer(setLogLevel(session, envelope))
      default:
        return this.#call(session, envelope, sink, answer, dropped)
    }
  }

  #call(
    session: LegacySession,
    envelope: Envelope,
    sink: AnswerSink,
    answer: (final: Final) => void,
    dropped: () => void,
  ): void {
    const method = envelope.method ?? ''
    const { id } = envelope
    if (id === null || session.running.has(id)) {
      return answer({ error: rpcError(-32600, 'A request with this id is still in flight.') })
    }
    if (session.running.size >= LIMITS.inFlightPerClient) return answer(encodeFailure(method, tooMany()))
    if (this.core.draining) return answer(encodeFailure(method, draining()))
    const call: Call = {
      method,
      params: envelope.params,
      context: contextFor(session, envelope, sink),
    }
    const running = new LegacyCall(this.core, this.clock, session, call, sink).start(outcome => {
      session.running.delete(id)
      const final = encodeLegacy(call, outcome)
      if (final) answer(final)
    })
    session.running.set(id, {
      cancel: reason => {
        running.cancel(reason)
        dropped()
      },
    })
  }
}

function contextFor(session: LegacySession, envelope: Envelope, sink: AnswerSink): CallContext {
  const { meta, bytes } = envelope
  const found = meta && member(meta, 'progressToken')
  const token = found ? Buffer.from(slice(bytes, found)) : undefined
  return {
    principal: session.principal,
    scope: session.scope,
    era: 'legacy',
    capabilities: session.capabilities,
    ...(session.clientInfo ? { clientInfo: session.clientInfo } : {}),
    ...(session.logLevel === null ? {} : { logLevel: session.logLevel }),
    ...(token
      ? {
          onProgress: (params: Bytes) => {
            sink.interim(notificationMessage('notifications/progress', retoken(params, token)), true)
          },
        }
      : {}),
    onLog: params => {
      sink.interim(notificationMessage('notifications/message', params), true)
    },
    ...(session.canBeAsked ? { onAsk: ask => session.ask(ask, sink) } : {}),
  }
}

function setLogLevel(session: LegacySession, { params, bytes }: Envelope): Final {
  const found = params && member(params, 'level')
  const level = found ? stringAt(bytes, found) : undefined
  if (level === undefined || !LOG_LEVELS.includes(level)) {
    return { error: rpcError(-32602, `params.level must be one of ${LOG_LEVELS.join(', ')}.`) }
  }
  session.logLevel = level
  return { result: EMPTY_RESULT }
}

export function tooMany(): GatewayError {
  const message = `More than ${LIMITS.inFlightPerClient} requests of this client are in flight; wait for some to end.`
  return new GatewayError('OVERLOADED', message, { retryAfterMs: 1_000 })
}

export function draining(): GatewayError {
  const reason = 'the gateway is stopping'
  return new GatewayError('UPSTREAM_REMOVED', `Nothing was sent: ${reason}.`, { reason })
}

export function asError(thrown: unknown): GatewayError {
  if (isGatewayError(thrown)) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new GatewayError('INTERNAL', `A fault of the gateway: ${message}`, { cause: thrown })
}
