import {
  type Bytes,
  type Call,
  type CallContext,
  type Caller,
  EMPTY_OBJECT,
  KINDS,
  type Kind,
  LIST_METHOD,
  type Scope,
} from '../model/index.js'
import type { GatewayCore, RunningCall } from '../runtime/ports.js'
import {
  type Envelope,
  errorMessage,
  idBytes,
  json,
  member,
  resultMessage,
  slice,
  stringAt,
  typeAt,
} from '../wire/index.js'
import { CallNotes } from './call-notes.js'
import { type Claim, SUPPORTED_VERSIONS } from './classify.js'
import { encodeModern, encodeModernFailure, modernMeta, modernTool } from './eras/modern.js'
import { asError, type Final, rpcError, stopping } from './failures.js'
import { checkHeaders, type InboundHeaders } from './header-check.js'
import { type Filter, filterOf, Listening } from './listen.js'
import { cursorOf, encodeList, listedKind } from './lists.js'
import type { Pace } from './pace.js'
import type { AnswerSink } from './sink.js'

const KEY = 'io.modelcontextprotocol/'
const LOG_LEVELS = new Set(['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'])
const METHODS = new Set([
  'server/discover',
  'tools/call',
  'prompts/get',
  'resources/read',
  'completion/complete',
  'subscriptions/listen',
  ...KINDS.map(kind => LIST_METHOD[kind]),
])
/** Methods that only an older era has: not to be passed to a server as if they were unknown to us. */
const GONE = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
  'tasks/list',
  'tasks/result',
])
const DISCOVER_TTL_MS = 5_000

export interface ModernRequest {
  readonly envelope: Envelope
  readonly claim: Exclude<Claim, { kind: 'none' }>
  /** Null on transports without headers. */
  readonly headers: InboundHeaders | null
  readonly scope: Scope
  readonly caller: Caller
  readonly sink: AnswerSink
}

/** Serves stateless requests: everything about the caller stands in the request. */
export class ModernServer {
  readonly #listens = new Set<Listening>()

  constructor(
    private readonly core: GatewayCore,
    private readonly pace: Pace,
  ) {}

  /** @returns what to cancel when the client goes away; null when the answer was given */
  serve(request: ModernRequest): RunningCall | null {
    const { envelope, sink } = request
    const id = Buffer.from(idBytes(envelope))
    const answer = (final: Final) =>
      sink.final(
        'result' in final ? resultMessage(id, final.result) : errorMessage(id, final.error),
        final.status,
      )
    const refusal = this.#refuse(request)
    if (refusal) {
      answer(refusal)
      return null
    }
    const method = envelope.method ?? ''
    if (this.core.draining) {
      answer(encodeModernFailure(method, stopping(), this.#info(request)))
      return null
    }
    const kind = listedKind(method)
    if (kind) return this.#list(kind, request, answer)
    if (method === 'server/discover') {
      answer({ result: this.#discover(request) })
      return null
    }
    if (method === 'subscriptions/listen') return this.#listen(request, id, answer)
    return this.#call(request, answer)
  }

  /** Ends every listen stream in the way that says: gracefully. */
  close(): void {
    for (const listening of [...this.#listens]) listening.end()
  }

  #info({ scope, caller }: ModernRequest) {
    return this.core.offer(scope, caller).serverInfo
  }

  /** In the order of the specification: version, envelope, headers, method. */
  #refuse({ envelope, claim, headers, scope, caller }: ModernRequest): Final | null {
    const versionFault = headers && headers.version !== undefined && headers.version !== claim.version
    if (headers && (headers.version === undefined || versionFault)) {
      const got = headers.version === undefined ? 'is missing' : `says ${JSON.stringify(headers.version)}`
      return mismatch(
        `The header MCP-Protocol-Version ${got}; the body says ${JSON.stringify(claim.version)}.`,
      )
    }
    if (claim.kind === 'unsupported') {
      const data = { supported: SUPPORTED_VERSIONS, requested: claim.version }
      const message = `Protocol version ${JSON.stringify(claim.version)} is not spoken here.`
      return { error: rpcError(-32022, message, data), status: 400 }
    }
    const incomplete = envelopeFault(envelope)
    if (incomplete) return { error: rpcError(-32602, incomplete), status: 400 }
    const fault =
      headers && checkHeaders(headers, envelope, name => this.core.headerParams(scope, name, caller))
    if (fault) return mismatch(fault)
    const method = envelope.method ?? ''
    const known = METHODS.has(method) || (scope.kind === 'server' && !GONE.has(method))
    return known ? null : { error: rpcError(-32601, `Method not found: ${method}`), status: 404 }
  }

  #list(kind: Kind, request: ModernRequest, answer: (final: Final) => void): RunningCall {
    let cancelled = false
    const finish = (final: Final) => {
      if (!cancelled) answer(final)
    }
    void this.#page(kind, request).then(
      result => finish({ result }),
      thrown => finish(encodeModernFailure(LIST_METHOD[kind], asError(thrown), this.#info(request))),
    )
    return {
      cancel: () => {
        cancelled = true
      },
    }
  }

  async #page(kind: Kind, request: ModernRequest): Promise<Bytes> {
    const { envelope, scope, caller } = request
    const page = await this.core.list(kind, scope, cursorOf(envelope), caller)
    const members = `,"resultType":"complete","ttlMs":${page.ttlMs},"cacheScope":"${page.cacheScope}"`
    const change = kind === 'tools' ? modernTool : undefined
    return encodeList(kind, page, modernMeta(this.#info(request)), members, change)
  }

  #discover({ scope, caller }: ModernRequest): Bytes {
    const { serverInfo, capabilities, instructions } = this.core.offer(scope, caller)
    return json({
      resultType: 'complete',
      supportedVersions: SUPPORTED_VERSIONS,
      capabilities,
      ...(instructions ? { instructions } : {}),
      ttlMs: DISCOVER_TTL_MS,
      cacheScope: 'private',
      _meta: modernMeta(serverInfo),
    })
  }

  #call(request: ModernRequest, answer: (final: Final) => void): RunningCall {
    const { envelope, scope, caller, sink } = request
    const method = envelope.method ?? ''
    const notes = new CallNotes(this.pace, this.core, scope, caller, envelope, sink)
    const call: Call = { method, params: envelope.params, context: contextFor(request, notes) }
    const running = this.core.call(call, outcome => {
      const final = encodeModern(call, outcome, this.#info(request))
      if (!final) return
      notes.flush()
      answer(final)
    })
    return {
      cancel: reason => {
        notes.drop()
        running.cancel(reason)
      },
    }
  }

  #listen(request: ModernRequest, id: Bytes, answer: (final: Final) => void): RunningCall | null {
    const { envelope, scope, caller, sink } = request
    const info = this.#info(request)
    let filter: Filter
    try {
      filter = filterOf(envelope)
    } catch (thrown) {
      answer(encodeModernFailure('subscriptions/listen', asError(thrown), info))
      return null
    }
    const left = () => this.#listens.delete(listening)
    const listen = { envelope, id, scope, caller, sink, info, answer, left }
    const listening = new Listening(this.core, this.pace.clock, listen, filter)
    this.#listens.add(listening)
    listening.start()
    return listening
  }
}

function envelopeFault({ meta }: Envelope): string | null {
  const capabilities = meta && member(meta, `${KEY}clientCapabilities`)
  if (!meta || !capabilities || typeAt(meta.bytes, capabilities) !== 'object') {
    return `params._meta["${KEY}clientCapabilities"] must be an object.`
  }
  const level = member(meta, `${KEY}logLevel`)
  if (level && !LOG_LEVELS.has(stringAt(meta.bytes, level) ?? '')) {
    return `params._meta["${KEY}logLevel"] must be one of ${[...LOG_LEVELS].join(', ')}.`
  }
  return null
}

function mismatch(message: string): Final {
  return { error: rpcError(-32020, message), status: 400 }
}

function contextFor({ envelope, scope, caller }: ModernRequest, notes: CallNotes): CallContext {
  const { meta, bytes } = envelope
  const raw = (key: string): Bytes | undefined => {
    const found = meta && member(meta, key)
    return found ? Buffer.from(slice(bytes, found)) : undefined
  }
  const token = raw('progressToken')
  const clientInfo = raw(`${KEY}clientInfo`)
  const levelMember = meta && member(meta, `${KEY}logLevel`)
  const logLevel = levelMember ? stringAt(bytes, levelMember) : undefined
  return {
    ...caller,
    scope,
    era: 'modern',
    capabilities: raw(`${KEY}clientCapabilities`) ?? EMPTY_OBJECT,
    ...(clientInfo ? { clientInfo } : {}),
    ...(logLevel === undefined ? {} : { logLevel, onLog: (params: Bytes) => notes.log(params) }),
    ...(token ? { onProgress: (params: Bytes) => notes.progress(params, token) } : {}),
  }
}
