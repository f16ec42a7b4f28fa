import type { IncomingMessage, ServerResponse } from 'node:http'
import { type App, createApp } from './app.js'
import { type ConfigReading, loadConfig, loadConfigObject, renderFaults } from './config/index.js'
import type { GatewayStatus, Transition, UpstreamStatus } from './control/index.js'
import { holdProcess } from './hold.js'
import {
  type Bytes,
  type Call,
  EMPTY_OBJECT,
  GatewayError,
  LOCAL,
  type Outcome,
  type Scope,
} from './model/index.js'
import type { Log } from './observe/index.js'
import type { UpstreamActions } from './runtime/ports.js'
import type { CredentialSource } from './runtime/realms/index.js'
import type { TestReport } from './runtime/test-report.js'
import { json, objectAt } from './wire/index.js'
import type { Identify, ReloadResult } from './wiring/index.js'

export interface GatewayOptions {
  /** As in the `mcpServers` object of a config file. */
  readonly mcpServers?: Readonly<Record<string, unknown>>
  /** As in the `holdfast` object of a config file. */
  readonly holdfast?: Readonly<Record<string, unknown>>
  /** Read this file instead of the two above. */
  readonly configFile?: string
  /** Receives one record per change of state. Default: nothing is logged. */
  readonly log?: Log
  /** Where `${VAR}` is looked up. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /**
   * Says whose an HTTP request is, by a name that is no secret; a throw or an empty answer refuses it with 401.
   * Default: everybody is `local`.
   */
  readonly identify?: Identify
  /**
   * HTTP headers with which an identity goes to a server whose `isolation` is not `shared`, asked before each connect;
   * null = those of the entry alone.
   */
  readonly credentials?: CredentialSource
}

export interface CallOptions {
  /** Who calls. Default `local`. */
  readonly principal?: string
  readonly signal?: AbortSignal
  /** Milliseconds in all; the server's own `totalTimeout` when that is smaller. */
  readonly timeoutMs?: number
  readonly onProgress?: (progress: { progress: number; total?: number; message?: string }) => void
}

/** The result of a request, as the server gave it. */
export type Result = Record<string, unknown>

export interface OwnedListing {
  readonly servers: readonly string[]
  readonly tools: readonly { readonly server: string; readonly tool: Result }[]
  readonly unavailable: readonly { readonly upstream: string; readonly reason: string }[]
}

export interface UpstreamTestOptions {
  /** Milliseconds for one try: connect, handshake and lists. Default 5000. */
  readonly timeoutMs?: number
  /** Tries in all. Default 3. */
  readonly retries?: number
  readonly signal?: AbortSignal
}

/** One transition, and how the server stands when that is asked for. */
export type UpstreamEvent = Transition & { readonly status: UpstreamStatus }

/** One configured server. */
export interface UpstreamHandle {
  status(): UpstreamStatus
  /**
   * Connects, shakes hands and lists on a session of its own, which is ended afterwards. A failure is a report, too.
   * @throws GatewayError INVALID_PARAMS for options that make no sense
   */
  test(options?: UpstreamTestOptions): Promise<TestReport>
  /** Ends what runs, forgets its failures and starts it anew. Resolves with how it stands then. */
  restart(): Promise<UpstreamStatus>
  /** Takes a disabled server back in; until the gateway ends. */
  enable(): Promise<UpstreamStatus>
  /** Ends it, and refuses calls to it; until the gateway ends. */
  disable(): Promise<UpstreamStatus>
  /** Fetches its lists again. */
  refresh(): Promise<UpstreamStatus>
  /**
   * Takes its tools and prompts as they are described now, those that are held too.
   * @param names public or own names. Default: everything that waits for it
   * @throws GatewayError INVALID_PARAMS for a name that it does not offer
   */
  approve(names?: readonly string[]): Promise<UpstreamStatus>
}

export interface Gateway extends AsyncDisposable {
  /** For an existing Node server: serves `/mcp`, `/mcp/s/NAME` and the control routes. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => void
  /**
   * Opens the configured address and starts the servers.
   * @returns the URL of `/mcp` and the port that was bound
   * @throws GatewayError MISCONFIGURED when the address cannot be bound or must not be
   */
  listen(address?: { host?: string; port?: number }): Promise<{ url: string; port: number }>
  /** Every tool under its public name; servers that are down are named in `unavailable`. */
  listTools(options?: {
    /** Who asks. Default `local`. */
    readonly principal?: string
  }): Promise<{ tools: Result[]; unavailable: readonly { upstream: string; reason: string }[] }>
  /** The credentials of that identity changed: its connections are closed, its lists dropped, both made anew. */
  forget(principal: string): Promise<void>
  /**
   * @param name public name, as in `listTools`
   * @throws GatewayError when the call could not be made or its outcome is unknown; a tool's own failure is a result
   */
  callTool(name: string, args?: Readonly<Record<string, unknown>>, options?: CallOptions): Promise<Result>
  readResource(uri: string, options?: CallOptions): Promise<Result>
  getPrompt(name: string, args?: Readonly<Record<string, string>>, options?: CallOptions): Promise<Result>
  status(): GatewayStatus
  /** Every tool with the server that owns it. */
  catalog(): Promise<OwnedListing>
  /** @throws GatewayError NOT_FOUND for a name that is not configured */
  upstream(name: string): UpstreamHandle
  /** Told once of each change of a server's state, health, breaker or lists. Returns the way to stop it. */
  on(event: 'upstream', listener: (event: UpstreamEvent) => void): () => void
  /** Told of each configuration that was taken over or refused. Returns the way to stop it. */
  on(event: 'config', listener: (result: ReloadResult) => void): () => void
  /** Resolves when the first start of every server has ended, well or not, or after `timeoutMs` (default 30 s). */
  settled(timeoutMs?: number): Promise<void>
  /**
   * Takes over another configuration while everything runs: what did not change keeps its process and its session.
   * @param config default: the file that the gateway was made from is read again
   * @throws GatewayError INVALID_PARAMS without a config where there is no file
   */
  reload(config?: Pick<GatewayOptions, 'mcpServers' | 'holdfast'>): Promise<ReloadResult>
  /** Drains, stops every server, closes every stream. Idempotent. */
  close(): Promise<void>
}

/**
 * Makes a gateway from a config and starts its servers; nothing listens before `listen()`.
 * @throws GatewayError MISCONFIGURED when the config as a whole cannot be used; a faulty server alone is only reported
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { configFile } = options
  const reading = configFile ? await readFile(configFile, options)() : await readObject(options, options)
  refuseUnusable(reading, options.configFile ?? 'the config')
  return new LibraryGateway(reading, options)
}

function readFile(path: string, { env = process.env }: GatewayOptions) {
  return () => loadConfig(path, { env })
}

function readObject(
  { mcpServers = {}, holdfast }: Pick<GatewayOptions, 'mcpServers' | 'holdfast'>,
  { env = process.env }: GatewayOptions,
): Promise<ConfigReading> {
  return loadConfigObject({ mcpServers, ...(holdfast ? { holdfast } : {}) }, env)
}

function refuseUnusable(reading: ConfigReading, path: string): void {
  if (reading.ok) return
  throw new GatewayError('MISCONFIGURED', renderFaults(reading.faults, { path, color: false }), {
    data: { faults: reading.faults },
  })
}

const ALL: Scope = { kind: 'all' }

class LibraryGateway implements Gateway {
  readonly #app: App
  #started = false

  constructor(
    reading: ConfigReading,
    private readonly options: GatewayOptions,
  ) {
    this.#app = createApp({
      reading,
      configPath: options.configFile ?? null,
      load: options.configFile === undefined ? undefined : readFile(options.configFile, options),
      log: options.log ?? (() => undefined),
      identify: options.identify,
      credentials: options.credentials,
    })
  }

  #start(): App {
    if (!this.#started) {
      this.#started = true
      this.#app.boot()
    }
    return this.#app
  }

  get handler() {
    return this.#start().handler
  }

  async listen(address?: { host?: string; port?: number }) {
    const listener = await this.#app.listen(address)
    this.#started = true
    return { url: `${listener.url}/mcp`, port: listener.port }
  }

  listTools({ principal = LOCAL }: { readonly principal?: string } = {}) {
    return holdProcess(this.#listTools(principal))
  }

  forget(principal: string) {
    return holdProcess(this.#start().runtime.forget(principal))
  }

  async #listTools(principal: string) {
    const core = this.#start().runtime
    const tools: Result[] = []
    let cursor: string | null = null
    for (;;) {
      const page = await core.list('tools', ALL, cursor, { principal })
      tools.push(...page.items.map(parse))
      cursor = page.nextCursor
      if (cursor === null) return { tools, unavailable: page.unavailable }
    }
  }

  callTool(name: string, args: Readonly<Record<string, unknown>> = {}, options: CallOptions = {}) {
    return this.#request('tools/call', { name, arguments: args }, options)
  }

  readResource(uri: string, options: CallOptions = {}) {
    return this.#request('resources/read', { uri }, options)
  }

  getPrompt(name: string, args: Readonly<Record<string, string>> = {}, options: CallOptions = {}) {
    return this.#request('prompts/get', { name, arguments: args }, options)
  }

  status() {
    return this.#app.status()
  }

  upstream(name: string): UpstreamHandle {
    const status = () => {
      const found = this.#app.upstream(name)
      if (!found)
        throw new GatewayError('NOT_FOUND', `No server named ${JSON.stringify(name)} is configured.`)
      return found
    }
    status()
    const act = async (action: (actions: UpstreamActions) => Promise<void> | void) => {
      const actions = this.#start().actions(name)
      if (!actions) throw misconfigured(status())
      await holdProcess(Promise.resolve(action(actions)))
      return status()
    }
    return {
      status,
      test: ({ timeoutMs, retries, signal } = {}) =>
        holdProcess(this.#app.test(name, { timeoutMs, attempts: retries, signal })),
      restart: () => act(actions => actions.restart()),
      enable: () => act(actions => actions.enable()),
      disable: () => act(actions => actions.disable()),
      refresh: () => act(actions => actions.refresh()),
      approve: names => act(actions => actions.approve(names)),
    }
  }

  reload(config?: Pick<GatewayOptions, 'mcpServers' | 'holdfast'>) {
    const load = config && (() => readObject(config, this.options))
    return holdProcess(this.#start().reload(load))
  }

  settled(timeoutMs = 30_000) {
    const app = this.#start()
    const { clock } = app
    const isSettled = () => [...app.runtime.snapshot.upstreams.values()].every(view => view.settled)
    if (isSettled()) return Promise.resolve()
    return holdProcess(
      new Promise<void>(resolve => {
        const finish = () => {
          leave()
          timer.cancel()
          resolve()
        }
        const timer = clock.after(timeoutMs, finish)
        const leave = app.onCommit(() => {
          if (isSettled()) finish()
        })
      }),
    )
  }

  async catalog() {
    const { servers, tools, unavailable } = await holdProcess(this.#start().tools())
    return { servers, unavailable, tools: tools.map(({ server, tool }) => ({ server, tool: parse(tool) })) }
  }

  on(...[event, listener]: Subscription) {
    const app = this.#app
    if (event === 'config') return app.configs.listen(result => safely(() => listener(result)))
    return app.transitions.listen((transition, told) =>
      safely(() =>
        listener({
          ...transition,
          // Only who asks for it pays for it: it needs the merged lists.
          get status() {
            return app.upstream(told.name) ?? told
          },
        }),
      ),
    )
  }

  close() {
    return this.#app.close()
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }

  #request(method: string, params: unknown, options: CallOptions): Promise<Result> {
    const core = this.#start().runtime
    const { signal, onProgress, timeoutMs, principal = LOCAL } = options
    const call: Call = {
      method,
      params: objectAt(json(params)),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      context: {
        principal,
        scope: ALL,
        era: 'legacy',
        capabilities: EMPTY_OBJECT,
        ...(onProgress ? { onProgress: (bytes: Bytes) => onProgress(parse(bytes) as never) } : {}),
      },
    }
    return holdProcess(
      new Promise((resolve, reject) => {
        signal?.throwIfAborted()
        const abort = () => {
          running.cancel('the caller aborted')
          reject(signal?.reason)
        }
        const running = core.call(call, outcome => {
          signal?.removeEventListener('abort', abort)
          settle(outcome, resolve, reject)
        })
        signal?.addEventListener('abort', abort, { once: true })
      }),
    )
  }
}

type Subscription =
  | [event: 'upstream', listener: (event: UpstreamEvent) => void]
  | [event: 'config', listener: (result: ReloadResult) => void]

/** A listener's fault is the program's own; the gateway is in the middle of a change and must finish it. */
function safely(tell: () => void): void {
  try {
    tell()
  } catch (fault) {
    queueMicrotask(() => {
      throw fault
    })
  }
}

function misconfigured({ name, reason }: UpstreamStatus): GatewayError {
  const why = reason ?? 'its entry in the configuration cannot work'
  return new GatewayError('MISCONFIGURED', `${name} is misconfigured: ${why}.`, {
    upstream: name,
    reason: why,
  })
}

function settle(outcome: Outcome, resolve: (result: Result) => void, reject: (error: unknown) => void): void {
  if (outcome.kind === 'cancelled') return reject(new GatewayError('INTERNAL', 'The call was cancelled.'))
  if (outcome.kind !== 'answered') return reject(outcome.error)
  if ('result' in outcome.reply) return resolve(parse(outcome.reply.result))
  const { code, message, data } = parse(outcome.reply.error)
  const { upstream } = outcome
  reject(
    new GatewayError('INVALID_PARAMS', `${upstream} answered: ${String(message)}`, {
      phase: 'rejected',
      upstream,
      reason: String(message),
      data: { code, ...(data === undefined ? {} : { data }) },
    }),
  )
}

function parse(bytes: Bytes): Result {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()) as Result
}
