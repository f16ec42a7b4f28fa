import {
  type Bytes,
  GatewayError,
  isGatewayError,
  LEGACY_VERSIONS,
  MODERN_VERSIONS,
  NEWEST_MODERN,
  type Outcome,
  type UpstreamSpec,
} from '../model/index.js'
import type {
  Clock,
  Connection,
  ConnectionEvents,
  Connector,
  ConnectorFactory,
  Host,
} from '../runtime/ports.js'
import type { EraCodec } from './eras/era.js'
import { followLegacy } from './eras/follow-legacy.js'
import { followModern } from './eras/follow-modern.js'
import { readDiscoverResult } from './eras/handshake.js'
import { legacyCodec } from './eras/legacy.js'
import { modernCodec } from './eras/modern.js'
import { openLegacy } from './eras/open-legacy.js'
import { ListWatch } from './eras/open-modern.js'
import { classifyProbe, type Verdict } from './eras/probe.js'
import { faultBehind, refusalToOpen } from './faults.js'
import { type CreateTransport, Opening, type OpeningOptions, probeOutcome, resultOf } from './opening.js'
import { createHttpTransport, createSseTransport, createStdioTransport } from './transports/index.js'

export interface ClientInfo {
  readonly name: string
  readonly version: string
}

export function createConnectorFactory(host: Host, info: ClientInfo): ConnectorFactory {
  return spec => new UpstreamConnector(host, info, spec)
}

/** Silence on stdio past this is a legacy server's. */
const PROBE_MS = 2_000
/** A legacy verdict never fails by itself, so it is doubted after a day. */
const LEGACY_VERDICT_MS = 24 * 60 * 60_000

type Wire = 'stdio' | 'http' | 'sse'

/** What was found out about a server, so that the next start need not ask again. */
type Memory =
  | { readonly era: 'modern'; readonly version: string }
  | { readonly era: 'legacy'; readonly wire: Wire; readonly at: number }

class UpstreamConnector implements Connector {
  #memory: Memory | null = null
  /** Its address was right once: what is wrong with it now may pass. */
  #everOpened = false

  constructor(
    private readonly host: Host,
    private readonly info: ClientInfo,
    private readonly spec: UpstreamSpec,
  ) {}

  async open(events: ConnectionEvents, signal: AbortSignal, capabilities: Bytes): Promise<Connection> {
    this.#refuseUnknownEra()
    const budget = new AbortController()
    const { start } = this.spec.timeouts
    const attempt = new OpenAttempt(this.host, this.info, this.spec, capabilities, {
      upstream: this.spec.name,
      clock: this.host.clock,
      events,
      hasCredentials: hasAuthorization(this.spec),
      signal: budget.signal,
    })
    const timer = this.host.clock.after(start, () =>
      budget.abort(timeoutError(this.spec.name, attempt.step, start)),
    )
    const give = () => budget.abort(signal.reason)
    signal.addEventListener('abort', give, { once: true })
    try {
      const opened = await raceAbort(attempt.run(this.#recall()), budget.signal)
      this.#memory = opened.memory
      this.#everOpened = true
      return opened.connection
    } catch (thrown) {
      attempt.discard()
      if (this.#memory?.era === 'modern') this.#memory = null
      throw isGatewayError(thrown) ? refusalToOpen(thrown, this.#everOpened) : thrown
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', give)
    }
  }

  /** What to assume: a pin in the config, else what the last start found out. */
  #recall(): Memory | null {
    const { era, transport } = this.spec
    const wire = transport.kind === 'auto' ? 'http' : transport.kind
    if (era === 'legacy' || LEGACY_VERSIONS.includes(era) || wire === 'sse')
      return { era: 'legacy', wire, at: 0 }
    if (era === 'modern') return { era: 'modern', version: NEWEST_MODERN }
    if (MODERN_VERSIONS.includes(era)) return { era: 'modern', version: era }
    const memory = this.#memory
    const isOld = memory?.era === 'legacy' && this.host.clock.now() - memory.at > LEGACY_VERDICT_MS
    return isOld ? null : memory
  }

  #refuseUnknownEra(): void {
    const { era, name } = this.spec
    const known = ['auto', 'legacy', 'modern', ...MODERN_VERSIONS, ...LEGACY_VERSIONS]
    if (known.includes(era)) return
    const reason = `"era": ${JSON.stringify(era)} is not a protocol version that Holdfast speaks; use one of ${known.join(', ')}`
    throw new GatewayError('MISCONFIGURED', `${name}: ${reason}.`, { upstream: name, reason })
  }
}

interface Opened {
  readonly connection: Connection
  readonly memory: Memory
}

/** One start of one server, from nothing to a finished handshake. */
class OpenAttempt {
  /** What is being waited for, for the message when time runs out. */
  step = 'start'
  #opening: Opening | null = null
  #discarded = false

  constructor(
    private readonly host: Host,
    private readonly info: ClientInfo,
    private readonly spec: UpstreamSpec,
    private readonly capabilities: Bytes,
    private readonly options: OpeningOptions,
  ) {}

  discard(): void {
    this.#discarded = true
    this.#opening?.discard()
  }

  async run(memory: Memory | null): Promise<Opened> {
    if (memory?.era === 'legacy')
      return this.#legacy(memory.wire, await this.#begin(memory.wire, legacyCodec))
    const wire = this.spec.transport.kind === 'stdio' ? 'stdio' : 'http'
    return this.#probe(wire, await this.#begin(wire, this.#modern(NEWEST_MODERN, wire)), memory?.version)
  }

  async #begin(wire: Wire, codec: EraCodec): Promise<Opening> {
    this.#opening?.discard()
    const opening = new Opening(this.options, this.#transport(wire), codec)
    this.#opening = opening
    if (this.#discarded) opening.discard()
    this.step = wire === 'stdio' ? 'start of the process' : 'connection'
    await opening.start()
    return opening
  }

  #transport(wire: Wire): CreateTransport {
    const { transport, timeouts } = this.spec
    if (transport.kind === 'stdio')
      return events => createStdioTransport(this.host, transport, timeouts, events)
    const create = wire === 'sse' ? createSseTransport : createHttpTransport
    return events => create(this.host, transport, timeouts, events)
  }

  #modern(version: string, wire: Wire): EraCodec {
    return modernCodec({ version, clientInfo: this.info, overHttp: wire === 'http' })
  }

  /** @param pinned a version that must be spoken: no other answer is looked for */
  async #probe(wire: 'stdio' | 'http', opening: Opening, pinned?: string, again = false): Promise<Opened> {
    this.step = 'server/discover'
    const isPinned = this.spec.era !== 'auto'
    const patience =
      wire === 'stdio' && !isPinned ? Math.min(PROBE_MS, this.spec.timeouts.start / 3) : undefined
    if (pinned !== undefined) opening.connection.speak(this.#modern(pinned, wire))
    const asked = opening.ask('server/discover', null)
    const outcome =
      patience === undefined ? await asked : await withPatience(this.host.clock, asked, patience)
    if (outcome === null) return this.#whicheverAnswers(opening, asked)
    const verdict = classifyProbe(probeOutcome(outcome), wire)
    if (verdict.kind === 'modern')
      return this.#finishModern(opening, resultOf(outcome) ?? {}, verdict.version)
    if (verdict.kind === 'probe-again' && !again) return this.#probe(wire, opening, verdict.version, true)
    if (outcome && 'error' in outcome && (verdict.kind === 'outage' || verdict.kind === 'auth'))
      throw outcome.error
    if (verdict.kind === 'disjoint') throw this.#disjoint(verdict.theirs)
    if (isPinned) throw this.#notModern(verdict)
    if (verdict.kind === 'legacy-respawn') return this.#legacy(wire, await this.#begin(wire, legacyCodec))
    return this.#legacy(wire, opening)
  }

  /** Silence may be a slow start: both questions are open now, and the first answer that is one decides. */
  async #whicheverAnswers(opening: Opening, asked: Promise<Outcome | null>): Promise<Opened> {
    const modern = asked.then(outcome => {
      const verdict = classifyProbe(probeOutcome(outcome), 'stdio')
      if (verdict.kind !== 'modern' || opening.isFinished)
        throw this.#error('it does not answer server/discover')
      opening.connection.speak(this.#modern(verdict.version, 'stdio'))
      return this.#finishModern(opening, resultOf(outcome) ?? {}, verdict.version)
    })
    const legacy = this.#legacy('stdio', opening)
    try {
      return await Promise.any([legacy, modern])
    } catch (thrown) {
      throw thrown instanceof AggregateError ? thrown.errors[0] : thrown
    }
  }

  #finishModern(opening: Opening, result: Record<string, unknown>, version: string): Opened {
    opening.connection.shook(readDiscoverResult(result, version))
    const connection = opening.finish()
    const { clock, random } = this.host
    new ListWatch(connection, clock, random).open()
    connection.follow = followModern(connection, clock, random)
    return { connection, memory: { era: 'modern', version } }
  }

  async #legacy(wire: Wire, opening: Opening): Promise<Opened> {
    this.step = 'initialize'
    const pinned = LEGACY_VERSIONS.includes(this.spec.era) ? { version: this.spec.era } : {}
    const options = {
      upstream: this.spec.name,
      capabilities: this.capabilities,
      clientInfo: this.info,
      ...pinned,
    }
    try {
      const connection = await openLegacy(opening, options)
      connection.follow = followLegacy(connection, this.host.clock)
      return { connection, memory: { era: 'legacy', wire, at: this.host.clock.now() } }
    } catch (thrown) {
      if (wire !== 'http' || this.spec.transport.kind !== 'auto' || !isNoStreamableHttp(thrown)) throw thrown
      return this.#legacy('sse', await this.#begin('sse', legacyCodec))
    }
  }

  #disjoint(theirs: readonly string[]): GatewayError {
    const reason = `it speaks ${theirs.join(', ')}; Holdfast speaks ${[...MODERN_VERSIONS, ...LEGACY_VERSIONS].join(', ')}`
    return this.#error(`no protocol version in common: ${reason}`)
  }

  #notModern(verdict: Verdict): GatewayError {
    return this.#error(
      `it does not speak the pinned era ${this.spec.era} (server/discover says: ${verdict.kind})`,
    )
  }

  #error(reason: string): GatewayError {
    const upstream = this.spec.name
    return new GatewayError('MISCONFIGURED', `${upstream}: ${reason}.`, { upstream, reason })
  }
}

/** 400, 404 and 405 to both POSTs: perhaps a server of the transport before this one (2024-11-05). */
function isNoStreamableHttp(thrown: unknown): boolean {
  const status = isGatewayError(thrown) ? faultBehind(thrown)?.status : undefined
  return status === 400 || status === 404 || status === 405
}

function hasAuthorization(spec: UpstreamSpec): boolean {
  if (spec.transport.kind === 'stdio') return false
  return Object.keys(spec.transport.headers).some(name => name.toLowerCase() === 'authorization')
}

function timeoutError(upstream: string, step: string, ms: number): GatewayError {
  const reason = `${step}: no answer in ${Math.round(ms / 100) / 10} s`
  return new GatewayError('UPSTREAM_UNAVAILABLE', `${upstream}: ${reason}.`, { upstream, reason })
}

/** Null when it takes longer; it goes on all the same. */
function withPatience<T>(clock: Clock, work: Promise<T>, ms: number): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => resolve(null))
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}

function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason)
    signal.addEventListener('abort', give, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give))
  })
}
