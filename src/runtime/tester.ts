import {
  EMPTY_OBJECT,
  GatewayError,
  KINDS,
  type Kind,
  LIMITS,
  type MisconfiguredSpec,
  type Timeouts,
  type UpstreamSpec,
} from '../model/index.js'
import { asGatewayError, reasonOf } from './failures.js'
import { fetchList } from './fetch-lists.js'
import { allowedOf, offers } from './offering.js'
import type { Clock, Connection, Connector, ConnectorFactory } from './ports.js'
import {
  blankReport,
  factsOf,
  failureIn,
  isPermanent,
  misconfiguredReport,
  phaseOf,
  type TestReport,
} from './test-report.js'

export interface TestOptions {
  /** Milliseconds for one try: connect, handshake and lists. Default 5000. */
  readonly timeoutMs?: number | undefined
  /** Tries in all. Default 3. */
  readonly attempts?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface TesterPorts {
  readonly connectors: ConnectorFactory
  readonly clock: Clock
  find(name: string): UpstreamSpec | MisconfiguredSpec | undefined
  /** A test went well: a server that is taken for down can be brought back at once. */
  succeeded(name: string): void
}

const DEFAULT_TIMEOUT_MS = 5_000
const DEFAULT_ATTEMPTS = 3
const MAX_ATTEMPTS = 10
const FIRST_PAUSE_MS = 500
/** Of a try's time, what the socket or the process may take: a host that swallows packets is then told as such. */
const CONNECT_SHARE = 0.8

interface Run {
  readonly report: Promise<TestReport>
  readonly stop: AbortController
  callers: number
}

/** Tries servers on sessions of their own, beside whatever the gateway has open with them. */
export class Tester {
  readonly #runs = new Map<string, Run>()
  /** Sessions of failed tries on their way out: nobody waits for them but the end of the gateway. */
  readonly #farewells = new Set<Promise<void>>()
  readonly #live = new Set<Connection>()

  constructor(private readonly ports: TesterPorts) {}

  /**
   * Connects, shakes hands, lists, and leaves. Callers of one server share a run that is under way.
   * @throws GatewayError NOT_FOUND for a name that is not configured, INVALID_PARAMS for options that make no sense
   * @throws the signal's reason when it is aborted; the run ends with its last caller
   */
  async test(name: string, options: TestOptions = {}): Promise<TestReport> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, attempts = DEFAULT_ATTEMPTS, signal } = options
    refuseNonsense(timeoutMs, attempts)
    const spec = this.ports.find(name)
    if (!spec) throw new GatewayError('NOT_FOUND', `No server named ${JSON.stringify(name)} is configured.`)
    if ('problem' in spec) return misconfiguredReport(spec)
    signal?.throwIfAborted()
    const run = this.#runs.get(name) ?? this.#start(spec, timeoutMs, attempts)
    return this.#join(name, run, signal)
  }

  /** Ends every run; resolves when no session of a test is left. */
  async stop(): Promise<void> {
    const runs = [...this.#runs]
    for (const [name, run] of runs) this.#end(name, run, new Error('The gateway is stopping.'))
    await Promise.allSettled(runs.map(([, run]) => run.report))
    await Promise.allSettled(this.#farewells)
  }

  /** Ends everything at once: no farewell. */
  kill(): void {
    for (const [name, run] of this.#runs) this.#end(name, run, new Error('The gateway was ended.'))
    for (const connection of this.#live) connection.destroy(over())
  }

  #start(spec: UpstreamSpec, timeoutMs: number, attempts: number): Run {
    const stop = new AbortController()
    const report = this.#run(spec, timeoutMs, attempts, stop.signal)
    const run = { report, stop, callers: 0 }
    this.#runs.set(spec.name, run)
    const forget = () => {
      if (this.#runs.get(spec.name) === run) this.#runs.delete(spec.name)
    }
    report.then(forget, forget)
    return run
  }

  #end(name: string, run: Run, reason: unknown): void {
    if (this.#runs.get(name) === run) this.#runs.delete(name)
    run.stop.abort(reason)
  }

  async #join(name: string, run: Run, signal: AbortSignal | undefined): Promise<TestReport> {
    run.callers += 1
    if (!signal) return run.report
    let leave = (): void => undefined
    const left = new Promise<never>((_resolve, reject) => {
      leave = () => {
        run.callers -= 1
        if (run.callers > 0) return reject(signal.reason)
        this.#end(name, run, signal.reason)
        // The last one to leave waits until nothing of the run is left.
        void run.report.catch(() => undefined).then(() => reject(signal.reason))
      }
      signal.addEventListener('abort', leave, { once: true })
    })
    try {
      return await Promise.race([run.report, left])
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  async #run(
    spec: UpstreamSpec,
    timeoutMs: number,
    attempts: number,
    signal: AbortSignal,
  ): Promise<TestReport> {
    const connector = this.ports.connectors({ ...spec, timeouts: within(spec.timeouts, timeoutMs) })
    for (let attempt = 1; ; attempt += 1) {
      const result = await this.#try(connector, spec, timeoutMs, signal)
      signal.throwIfAborted()
      if (result.report.ok) this.ports.succeeded(spec.name)
      if (result.report.ok || result.permanent || attempt >= attempts)
        return { ...result.report, attempts: attempt }
      await pause(this.ports.clock, FIRST_PAUSE_MS * 2 ** (attempt - 1), signal)
    }
  }

  async #try(
    connector: Connector,
    spec: UpstreamSpec,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly report: TestReport; readonly permanent: boolean }> {
    const { clock } = this.ports
    const startedAt = clock.now()
    const elapsed = () => Math.round(clock.now() - startedAt)
    let connection: Connection | null = null
    try {
      connection = await connector.open(SILENT, signal, EMPTY_OBJECT)
      this.#live.add(connection)
      const lists = countLists(connection, clock, spec, Math.max(1, timeoutMs - elapsed()))
      const { counts, failed } = await orAborted(lists, signal)
      const report = { ...blankReport(spec.name), ok: true, latencyMs: elapsed(), counts, failed }
      const met = connection
      connection = null
      await orAborted(met.close(), signal, () => this.#leave(met))
      this.#live.delete(met)
      return { report: { ...report, ...factsOf(met) }, permanent: false }
    } catch (thrown) {
      const error = asGatewayError(thrown, spec.name)
      const phase = phaseOf(error, connection !== null)
      const report = { ...blankReport(spec.name), phase, latencyMs: elapsed(), ...failureIn(error) }
      if (connection) this.#leave(connection)
      return {
        report: { ...report, ...(connection ? factsOf(connection) : {}) },
        permanent: isPermanent(error, phase),
      }
    }
  }

  /** After a failure a child gets no time to say goodbye; a remote session is still ended in its own way. */
  #leave(connection: Connection): void {
    if (connection.transport === 'stdio') {
      this.#live.delete(connection)
      connection.destroy(over())
      return
    }
    const farewell = connection.close().catch(() => undefined)
    this.#farewells.add(farewell)
    void farewell.then(() => {
      this.#farewells.delete(farewell)
      this.#live.delete(connection)
    })
  }
}

function over(): GatewayError {
  return new GatewayError('UPSTREAM_REMOVED', 'The test is over.')
}

const SILENT = {
  closed: () => undefined,
  notification: () => undefined,
  violation: () => undefined,
  stderr: () => undefined,
}

function refuseNonsense(timeoutMs: number, attempts: number): void {
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > MAX_ATTEMPTS)
    throw new GatewayError('INVALID_PARAMS', `A test makes 1 to ${MAX_ATTEMPTS} tries, not ${attempts}.`)
  if (!(timeoutMs >= 1 && timeoutMs <= LIMITS.timerMs))
    throw new GatewayError('INVALID_PARAMS', `A test needs a timeout of at least 1 ms, not ${timeoutMs}.`)
}

function within(timeouts: Timeouts, ms: number): Timeouts {
  const connect = Math.min(timeouts.connect, ms * CONNECT_SHARE)
  return { ...timeouts, connect, start: ms, list: ms, listTotal: ms }
}

/** The tools decide; the other lists are counted as far as they can be had. */
async function countLists(
  connection: Connection,
  clock: Clock,
  spec: UpstreamSpec,
  leftMs: number,
): Promise<Required<Pick<TestReport, 'failed'>> & { readonly counts: Record<Kind, number> }> {
  const timeouts = { ...spec.timeouts, list: leftMs, listTotal: leftMs }
  const counts: Record<Kind, number> = { tools: 0, resources: 0, resourceTemplates: 0, prompts: 0 }
  const failed: Partial<Record<Kind, string>> = {}
  const count = async (kind: Kind) => {
    if (!offers(connection, kind)) return
    const { items } = await fetchList({ connection, clock, timeouts, upstream: spec.name }, kind)
    counts[kind] = allowedOf(spec, kind, items).length
  }
  const others = KINDS.filter(kind => kind !== 'tools').map(kind =>
    count(kind).catch(thrown => {
      failed[kind] = reasonOf(asGatewayError(thrown, spec.name))
    }),
  )
  await count('tools')
  await Promise.all(others)
  return { counts, failed }
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const give = () => {
      timer.cancel()
      reject(signal.reason)
    }
    const timer = clock.after(ms, () => {
      signal.removeEventListener('abort', give)
      resolve()
    })
    signal.addEventListener('abort', give, { once: true })
  })
}

/** @param give what else to do about `work` when it is not waited for any longer */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal, give?: () => void): Promise<T> {
  let abort = (): void => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => {
      give?.()
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
  })
  work.catch(() => undefined)
  if (signal.aborted) abort()
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
