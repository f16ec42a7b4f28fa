import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mergeCatalogs } from '../../src/core/catalog/index.js'
import { createHttpFace, type FaceOptions, type HttpFace } from '../../src/downstream/index.js'
import type { Call, GatewayError, HeaderParam, Kind, Outcome } from '../../src/model/index.js'
import type {
  Clock,
  GatewayCore,
  Host,
  ListPage,
  RunningCall,
  Subscription,
  SubscriptionEvents,
} from '../../src/runtime/ports.js'
import { MODERN, MODERN_META } from './modern-meta.js'
import { MCP_HEADERS, rawPost } from './raw-http.js'

export { KEY, MODERN, MODERN_META as META } from './modern-meta.js'

export const EMPTY_PAGE: ListPage = {
  items: [],
  nextCursor: null,
  unavailable: [],
  ttlMs: 7,
  cacheScope: 'private',
}

type Era = 'legacy' | 'modern'

/** One call that reached the core; the test says how it goes on. */
export class ScriptedCall {
  readonly cancelled: Promise<string>
  isCancelled = false
  #cancel: (reason: string) => void = () => undefined

  constructor(
    readonly call: Call,
    readonly reply: (outcome: Outcome) => void,
  ) {
    this.cancelled = new Promise(resolve => {
      this.#cancel = resolve
    })
  }

  get running(): RunningCall {
    return {
      cancel: reason => {
        this.isCancelled = true
        this.#cancel(reason)
      },
    }
  }

  get params(): string {
    const { params } = this.call
    return params ? Buffer.from(params.bytes.subarray(params.span.start, params.span.end)).toString() : ''
  }

  result(json: string, era: Era = 'legacy'): void {
    this.reply({ kind: 'answered', era, upstream: 'up', reply: { result: Buffer.from(json) } })
  }

  error(json: string, era: Era = 'legacy'): void {
    this.reply({ kind: 'answered', era, upstream: 'up', reply: { error: Buffer.from(json) } })
  }

  fail(error: GatewayError): void {
    this.reply({ kind: 'never-sent', error })
  }

  progress(json: string): void {
    this.call.context.onProgress?.(Buffer.from(json))
  }
}

/** A core without servers. */
export class ScriptedCore implements GatewayCore {
  readonly #snapshot = { version: 0, upstreams: new Map(), catalog: mergeCatalogs([]) }
  /** Sessions that it was told are over. */
  readonly ended: object[] = []
  draining = false
  calls = 0
  /** Answers every call at once with this result. */
  always: string | null = null
  params: readonly HeaderParam[] = []
  list: GatewayCore['list'] = () => Promise.resolve(EMPTY_PAGE)
  readonly listeners = new Set<(kind: Kind) => void>()
  /** Of clients, in order. */
  readonly subscriptions = new Set<{ readonly uri: string; readonly events: SubscriptionEvents }>()
  /** Of every subscription; null = they stand. */
  refusal: Outcome | null = null
  readonly #ready: ScriptedCall[] = []
  readonly #waiting: ((call: ScriptedCall) => void)[] = []

  snapshotFor(): ReturnType<GatewayCore['snapshotFor']> {
    return this.#snapshot
  }

  endSession(session: object): void {
    this.ended.push(session)
  }

  offer() {
    return {
      serverInfo: { name: 'holdfast', title: 'Holdfast', version: '1' },
      capabilities: { tools: {} },
      instructions: '',
    }
  }

  knowsServer(): boolean {
    return true
  }

  headerParams(): readonly HeaderParam[] {
    return this.params
  }

  call(call: Call, reply: (outcome: Outcome) => void): RunningCall {
    this.calls += 1
    const scripted = new ScriptedCall(call, reply)
    const { always } = this
    if (always !== null) {
      queueMicrotask(() => scripted.result(always))
      return scripted.running
    }
    const waiter = this.#waiting.shift()
    if (waiter) waiter(scripted)
    else this.#ready.push(scripted)
    return scripted.running
  }

  onListChanged(_scope: unknown, listener: (kind: Kind) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  subscribe(_scope: unknown, uri: string, _caller: unknown, events: SubscriptionEvents): Subscription {
    const { refusal } = this
    queueMicrotask(() => events.settled(refusal))
    if (refusal) return { end: () => undefined }
    const one = { uri, events }
    this.subscriptions.add(one)
    return { end: () => this.subscriptions.delete(one) }
  }

  /** Tells every subscriber of that URI. */
  update(uri: string, params: unknown = { uri }): void {
    for (const one of [...this.subscriptions])
      if (one.uri === uri) one.events.updated(Buffer.from(JSON.stringify(params)))
  }

  /** The next call that reaches the core. */
  next(): Promise<ScriptedCall> {
    const ready = this.#ready.shift()
    return ready ? Promise.resolve(ready) : new Promise(resolve => this.#waiting.push(resolve))
  }

  change(...kinds: Kind[]): void {
    for (const kind of kinds) for (const listener of [...this.listeners]) listener(kind)
  }
}

/** A clock that is set by hand. */
export function manualHost(): { host: Host; advance(ms: number): void; readonly timers: number } {
  let now = 1_000
  let tokens = 0
  const timers = new Set<{ at: number; fn: () => void }>()
  const clock: Clock = {
    now: () => now,
    wallTime: () => now,
    after: (ms, fn) => {
      const timer = { at: now + ms, fn }
      timers.add(timer)
      return { cancel: () => timers.delete(timer) }
    },
  }
  const random = { next: () => 0, token: (bytes: number) => (++tokens).toString(16).padStart(bytes * 2, '0') }
  return {
    host: { clock, random } as unknown as Host,
    advance: ms => {
      now += ms
      for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.fn()
    },
    get timers() {
      return timers.size
    },
  }
}

export interface Served {
  readonly core: ScriptedCore
  readonly face: HttpFace
  readonly url: string
  readonly time: ReturnType<typeof manualHost>
}

/** A server with the face alone; `/one` is the scope of one server. */
export async function withFace(
  body: (served: Served) => Promise<void>,
  options?: FaceOptions,
): Promise<void> {
  const core = new ScriptedCore()
  const time = manualHost()
  const face = createHttpFace(core, time.host, options)
  const server = createServer((req, res) =>
    face.handle(req, res, req.url === '/one' ? { kind: 'server', name: 'one' } : { kind: 'all' }),
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  try {
    await body({ core, face, time, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` })
  } finally {
    face.close()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
}

export function rpc(method: string, params?: unknown, id: unknown = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

/** Body and headers of a stateless request. */
export function modern(method: string, params: Record<string, unknown> = {}, id: unknown = 'q', meta = {}) {
  const name = params['name'] ?? params['uri']
  const headers: Record<string, string> = {
    'mcp-protocol-version': MODERN,
    'mcp-method': method,
    ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
  }
  return { body: rpc(method, { ...params, _meta: { ...MODERN_META, ...meta } }, id), headers }
}

export function hello(version = '2025-11-25', capabilities: object = {}): string {
  return rpc('initialize', { protocolVersion: version, capabilities }, 0)
}

export async function openSession(url: string, version?: string, capabilities?: object) {
  const { headers } = await rawPost(url, hello(version, capabilities))
  const session = { 'mcp-session-id': String(headers['mcp-session-id']) }
  await rawPost(url, '{"jsonrpc":"2.0","method":"notifications/initialized"}', session)
  return { session, headers: { ...MCP_HEADERS, ...session } }
}
