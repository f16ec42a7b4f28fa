import { type Bytes, GatewayError, type Outcome } from '../model/index.js'
import type { Clock, ConnectionEvents } from '../runtime/ports.js'
import { json, objectAt, parseAt } from '../wire/index.js'
import { UpstreamConnection } from './connection.js'
import type { EraCodec } from './eras/era.js'
import type { ProbeOutcome } from './eras/probe.js'
import { errorFrom, faultBehind } from './faults.js'
import type { Transport, TransportEvents, TransportFault } from './transport.js'

export type CreateTransport = (events: TransportEvents) => Transport

export interface OpeningOptions {
  readonly upstream: string
  readonly clock: Clock
  readonly events: ConnectionEvents
  readonly hasCredentials: boolean
  /** Aborted when the start budget is spent, or when nobody wants the connection any more. */
  readonly signal: AbortSignal
}

/** A transport and its connection while the handshake goes on; nothing is told to the outside before `finish`. */
export class Opening {
  readonly connection: UpstreamConnection
  readonly transport: Transport
  #finished = false
  readonly #asked = new Set<() => void>()

  constructor(
    private readonly options: OpeningOptions,
    create: CreateTransport,
    codec: EraCodec,
  ) {
    const { events } = options
    let connection: UpstreamConnection | null = null
    this.transport = create({
      message: (bytes, source) => connection?.message(bytes, source),
      ended: (id, fault) => connection?.ended(id, fault),
      closed: fault => connection?.closed(fault),
      noise: (what, sort) => connection?.noise(what, sort),
      stderr: line => events.stderr(line),
      awaits: id => connection?.awaits(id) ?? false,
    })
    const told: ConnectionEvents = {
      closed: error => {
        if (this.#finished) events.closed(error)
      },
      notification: (method, params) => {
        if (this.#finished) events.notification(method, params)
      },
      violation: what => events.violation(what),
      stderr: line => events.stderr(line),
    }
    connection = new UpstreamConnection({ ...options, events: told }, this.transport, codec)
    this.connection = connection
  }

  /** @throws GatewayError when it cannot be started */
  async start(): Promise<void> {
    try {
      await this.transport.start(this.options.signal)
    } catch (fault) {
      throw startError(this.options, fault as TransportFault)
    }
  }

  /** One request of the handshake; null when it was not answered within `ms`. */
  ask(method: string, params: unknown, ms?: number): Promise<Outcome | null> {
    return new Promise(resolve => {
      const timer = ms === undefined ? null : this.options.clock.after(ms, () => giveUp())
      const running = this.connection.request({
        method,
        params: params === null ? null : objectAt(json(params)),
        context: null,
        settle: outcome => {
          timer?.cancel()
          this.#asked.delete(giveUp)
          resolve(outcome)
        },
      })
      const giveUp = () => {
        timer?.cancel()
        this.#asked.delete(giveUp)
        running.abandon()
        resolve(null)
      }
      this.#asked.add(giveUp)
    })
  }

  /** Whatever else was asked need not be answered any more. */
  abandon(): void {
    for (const giveUp of [...this.#asked]) giveUp()
  }

  /** The era is decided. */
  get isFinished(): boolean {
    return this.#finished
  }

  finish(): UpstreamConnection {
    this.abandon()
    this.#finished = true
    return this.connection
  }

  /** Nothing of a failed opening is left behind. */
  discard(): void {
    this.transport.destroy()
  }
}

function startError(
  { upstream, hasCredentials, clock }: OpeningOptions,
  fault: TransportFault,
): GatewayError {
  const error = errorFrom({ upstream, hasCredentials, wallTime: clock.wallTime() }, fault)
  if (['SIGN_IN_REQUIRED', 'FORBIDDEN'].includes(error.code) || fault.reason === 'tls') return error
  const permanent =
    fault.reason === 'spawn' && /^(command not found|not executable|the working folder)/.test(fault.message)
  const code = permanent ? 'MISCONFIGURED' : 'UPSTREAM_UNAVAILABLE'
  return new GatewayError(code, `${upstream}: ${fault.message}.`, {
    ...error.details,
    phase: 'never-sent',
    reason: fault.message,
  })
}

/** The raw result of an answered request, parsed; null for anything else. */
export function resultOf(outcome: Outcome | null): Record<string, unknown> | null {
  if (outcome?.kind !== 'answered' || !('result' in outcome.reply)) return null
  const value = parse(outcome.reply.result)
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
}

/** What an outcome of `server/discover` says, as plain data. */
export function probeOutcome(outcome: Outcome | null): ProbeOutcome {
  if (outcome === null || outcome.kind === 'cancelled') return { kind: 'silence' }
  if (outcome.kind === 'answered') {
    if ('result' in outcome.reply) return { kind: 'result', result: parse(outcome.reply.result) }
    const { code, data } = (parse(outcome.reply.error) ?? {}) as { code?: unknown; data?: unknown }
    return { kind: 'rpc-error', code, data }
  }
  const fault = faultBehind(outcome.error)
  if (fault?.status !== undefined && fault.reason !== 'not-mcp')
    return { kind: 'status', status: fault.status }
  if (fault?.reason === 'not-mcp' || outcome.error.code === 'PROTOCOL_VIOLATION') return { kind: 'not-mcp' }
  const left = fault?.reason === 'exit' || fault?.reason === 'eof' || fault?.reason === 'stdin'
  return { kind: left ? 'exit' : 'unreachable' }
}

function parse(bytes: Bytes): unknown {
  return parseAt(bytes, { start: 0, end: bytes.length })
}
