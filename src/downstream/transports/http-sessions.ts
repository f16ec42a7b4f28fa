import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionTable } from '../../core/session/index.js'
import { LIMITS, LOCAL, type Scope } from '../../model/index.js'
import type { GatewayCore, Host, Timer } from '../../runtime/ports.js'
import { type Envelope, idBytes } from '../../wire/index.js'
import { primesStreams } from '../classify.js'
import { fullHouse } from '../failures.js'
import { beginSession } from '../legacy-server.js'
import type { Channel, LegacySession } from '../legacy-session.js'
import { type LoadView, shed } from '../shedder.js'
import { AnswerShelf } from './answer-shelf.js'
import { type AnswerRoom, HttpAnswer, repeatAnswer } from './http-answer.js'
import {
  type Accepts,
  acceptsOf,
  header,
  INVALID_REQUEST,
  refuse,
  refuseFor,
  wrongVerb,
} from './http-request.js'
import { SessionStream } from './session-stream.js'

/** A legacy session and what its client may come back for. */
export interface HttpSession {
  readonly session: LegacySession
  readonly shelf: AnswerShelf
}

/** While memory is short, a session that nobody used for this long ends. */
const PRESSED_IDLE_MS = LIMITS.sessionIdleMs / 6

/** The sessions of legacy clients: how they begin, are found again, listen, and end. */
export class HttpSessions {
  readonly #table = new SessionTable<HttpSession>({
    max: LIMITS.sessions,
    maxPerOwner: LIMITS.sessionsPerPrincipal,
    idleMs: LIMITS.sessionIdleMs,
    maxAgeMs: LIMITS.sessionMaxAgeMs,
    useOf: ({ session }) => session.use,
    ownerOf: ({ session }) => (session.caller.principal === LOCAL ? null : session.caller.principal),
  })
  readonly #streams = new Set<SessionStream>()
  #sweep: Timer | null = null

  constructor(
    private readonly core: GatewayCore,
    private readonly host: Host,
    private readonly room: AnswerRoom,
    private readonly load: LoadView,
  ) {}

  get size(): number {
    return this.#table.size
  }

  /** Another identity's session is as unknown as one that never was. */
  find(req: IncomingMessage, scope: Scope, principal: string): HttpSession | undefined {
    const id = header(req, 'mcp-session-id')
    const found = id === undefined ? undefined : this.#table.use(id, this.host.clock.now())
    if (found?.session.caller.principal !== principal) return undefined
    return sameScope(found.session.scope, scope) ? found : undefined
  }

  begin(res: ServerResponse, scope: Scope, principal: string, accepts: Accepts, envelope: Envelope): void {
    const { clock, random } = this.host
    const id = random.token(16)
    const caller = { principal, session: {} }
    const { session, answer } = beginSession(this.core, clock, envelope, scope, id, caller)
    const shelf = new AnswerShelf(this.room.buffers, primesStreams(session.version))
    const removed = this.#table.add(id, { session, shelf }, clock.now())
    if (!Array.isArray(removed)) {
      this.core.endSession(caller.session)
      return refuseFor(res, fullHouse(removed), idBytes(envelope))
    }
    this.#end(removed, 'the session had to make room')
    this.#armSweep()
    new HttpAnswer(res, accepts, this.room, { 'mcp-session-id': id }).final(answer)
  }

  /** GET: the stream for what belongs to no request, or the rest of one that broke. */
  listen(req: IncomingMessage, res: ServerResponse, scope: Scope, principal: string): void {
    const found = this.find(req, scope, principal)
    if (!found) return this.#refuseUnknown(req, res)
    if (!acceptsOf(req).stream) return refuse(res, NO_STREAM)
    if (this.#resume(found, req, res)) return
    const refusal = shed(this.load, 'subscriptions/listen')
    if (refusal) return refuseFor(res, refusal, null)
    const { session } = found
    const channel: Channel = {
      send: (message, slot) => stream.send(message, slot),
      end: () => stream.close(),
    }
    const stream = new SessionStream(res, this.room, () => {
      this.#streams.delete(stream)
      session.closeChannel(channel)
    })
    this.#streams.add(stream)
    session.openChannel(channel)
  }

  /** DELETE. */
  end(req: IncomingMessage, res: ServerResponse, scope: Scope, principal: string): void {
    const found = this.find(req, scope, principal)
    if (!found) return this.#refuseUnknown(req, res)
    this.#table.remove(found.session.id)
    this.#end([found], 'the client ended its session')
    res.writeHead(204).end()
  }

  /** Ends what nobody used for long; while memory is short, sooner. */
  sweep(): void {
    const idleMs = this.load.level > 0 ? PRESSED_IDLE_MS : LIMITS.sessionIdleMs
    this.#end(this.#table.sweep(this.host.clock.now(), idleMs), 'the session was idle for too long')
  }

  close(): void {
    this.#sweep?.cancel()
    for (const { session } of this.#table.values()) session.stop()
    this.#end(this.#table.values(), 'the gateway is stopping')
    for (const stream of [...this.#streams]) stream.close()
  }

  #end(ended: readonly HttpSession[], reason: string): void {
    for (const { session, shelf } of ended) {
      session.end(reason)
      if (session.caller.session) this.core.endSession(session.caller.session)
      shelf.clear()
    }
  }

  #armSweep(): void {
    this.#sweep ??= this.host.clock.after(LIMITS.sessionSweepMs, () => {
      this.#sweep = null
      this.sweep()
      if (this.#table.size > 0) this.#armSweep()
    })
  }

  /** True when the stream that the client names is known and goes on. */
  #resume({ shelf }: HttpSession, req: IncomingMessage, res: ServerResponse): boolean {
    const stream = Number(/^(\d{1,15})-\d{1,15}$/.exec(header(req, 'last-event-id') ?? '')?.[1])
    const unfinished = shelf.unfinished(stream)
    const kept = shelf.kept(stream)
    if (unfinished) unfinished.resume(res)
    else if (kept) repeatAnswer(res, stream, kept, this.room)
    return unfinished !== undefined || kept !== undefined
  }

  #refuseUnknown(req: IncomingMessage, res: ServerResponse): void {
    if (header(req, 'mcp-session-id') !== undefined) return refuse(res, NO_SUCH_SESSION)
    refuse(res, wrongVerb(`${req.method} needs a session; stateless clients use POST.`))
  }
}

export const NO_SUCH_SESSION = {
  status: 404,
  code: INVALID_REQUEST,
  message: 'This session does not exist or has ended; send initialize again.',
}
const NO_STREAM = {
  status: 406,
  code: INVALID_REQUEST,
  message: 'The stream is text/event-stream; accept it.',
}

function sameScope(a: Scope, b: Scope): boolean {
  return a.kind === 'all' ? b.kind === 'all' : b.kind === 'server' && a.name === b.name
}
