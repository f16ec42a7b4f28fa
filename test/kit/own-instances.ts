/** A whole runtime on virtual time whose servers offer each identity something else. */
import { GatewayError, type Outcome, type UpstreamSpec } from '../../src/model/index.js'
import { Runtime } from '../../src/runtime/gateway.js'
import type {
  Connection,
  ConnectionEvents,
  Host,
  RunningCall,
  UpstreamRequest,
} from '../../src/runtime/ports.js'
import type { CredentialSource } from '../../src/runtime/realms/index.js'
import type { LateNews } from '../../src/runtime/reload.js'
import { objectAt } from '../../src/wire/index.js'
import { SPEC } from './runtime-world.js'
import { virtualClock } from './virtual-clock.js'

/** One connection that was opened, and what it was asked. */
export interface Opened {
  readonly upstream: string
  readonly spec: UpstreamSpec
  /** Whose it is, by the header that the credentials put in. */
  readonly user: string
  readonly headers: Readonly<Record<string, string>>
  readonly events: ConnectionEvents
  readonly asked: UpstreamRequest[]
  /** Resources that somebody follows. */
  readonly followed: Set<string>
  ended: boolean
}

export const USERS: CredentialSource = ({ principal }) => ({ authorization: `Bearer ${principal}` })
const CALLER = { scope: { kind: 'all' }, era: 'legacy', capabilities: Buffer.from('{}') } as const

export function spec(name: string, part: Partial<UpstreamSpec> = {}): UpstreamSpec {
  return { ...SPEC, name, prefix: name, isolation: 'principal', timeouts: PATIENT, ...part }
}

const PATIENT = {
  connect: 5_000,
  start: 20_000,
  request: 60_000,
  total: 600_000,
  list: 10_000,
  listTotal: 30_000,
}

export function program(name: string, part: Partial<UpstreamSpec> = {}): UpstreamSpec {
  return spec(name, { transport: { kind: 'stdio', command: 'x', args: [], env: {} }, ...part })
}

export interface WorldOptions {
  readonly specs?: readonly UpstreamSpec[]
  readonly credentials?: CredentialSource
  /** Null = the test settles it by itself. */
  readonly answer?: (request: UpstreamRequest, opened: Opened) => string | null
}

/** By default each user is offered one tool that bears the user's name. */
export function ownTool({ method }: UpstreamRequest, { user }: Opened): string {
  if (method === 'tools/list') return toolList(user)
  if (method === 'resources/list') {
    return JSON.stringify({ resources: [{ uri: `note:///${user}`, name: user }] })
  }
  if (method === 'tools/call') return JSON.stringify({ content: [{ type: 'text', text: `for ${user}` }] })
  return '{}'
}

export function toolList(...names: string[]): string {
  return JSON.stringify({ tools: names.map(name => ({ name, inputSchema: { type: 'object' } })) })
}

export function settle(request: UpstreamRequest, result: string): void {
  request.settle({ kind: 'answered', era: 'legacy', upstream: 'x', reply: { result: Buffer.from(result) } })
}

export function instances(options: WorldOptions = {}) {
  const { specs = [spec('a')], credentials = USERS, answer = ownTool } = options
  const clock = virtualClock()
  const opened: Opened[] = []
  const told: string[] = []
  /** What became of versions that a reload did not wait for. */
  const later: LateNews[] = []
  const behaviour = {
    opening: (_upstream: string, _user: string, _spec: UpstreamSpec): Promise<unknown> | null => null,
    /** May throw: nothing can be made of this entry. */
    making: (_spec: UpstreamSpec): void => undefined,
  }
  const host = { clock, random: { next: () => 0.5, token: () => 'word' } } as unknown as Host
  const runtime = new Runtime({
    host,
    hasIdentities: true,
    credentials,
    upstreams: specs,
    info: { name: 'test', title: 'Test', version: '1' },
    events: { stderr: () => undefined, warning: (_, message) => told.push(message) },
    later: news => later.push(news),
    connectors: own => {
      behaviour.making(own)
      return {
        open: async (events, signal) => {
          const headers = 'headers' in own.transport ? own.transport.headers : {}
          const user = (headers['authorization'] ?? 'Bearer nobody').slice('Bearer '.length)
          await behaviour.opening(own.name, user, own)
          signal.throwIfAborted()
          const made: Opened = {
            upstream: own.name,
            spec: own,
            user,
            headers,
            events,
            asked: [],
            followed: new Set(),
            ended: false,
          }
          opened.push(made)
          return connectionOf(made, own.transport.kind === 'stdio', answer, opened.length)
        },
      }
    },
  })
  const as = (principal: string, session?: object) => ({ principal, ...(session ? { session } : {}) })
  const list = async (principal: string, session?: object) => {
    const page = runtime.list('tools', { kind: 'all' }, null, as(principal, session))
    await clock.pass(0)
    return nameOf(await page)
  }
  const call = async (name: string, principal: string, session?: object) => {
    const outcome = begin(name, principal, session).outcome
    await clock.pass(0)
    return said(await outcome)
  }
  const begin = (name: string, principal: string, session?: object) => {
    let running: RunningCall | null = null
    const outcome = new Promise<Outcome>(resolve => {
      const params = objectAt(Buffer.from(JSON.stringify({ name })))
      const context = { ...CALLER, ...as(principal, session) }
      running = runtime.call({ method: 'tools/call', params, context }, resolve)
    })
    return { outcome, cancel: () => running?.cancel('the test') }
  }
  return { runtime, clock, opened, told, later, behaviour, as, list, call, begin }
}

function connectionOf(
  made: Opened,
  isProgram: boolean,
  answer: (request: UpstreamRequest, opened: Opened) => string | null,
  pid: number,
): Connection {
  return {
    transport: isProgram ? 'stdio' : 'http',
    era: 'legacy',
    protocolVersion: 'x',
    serverInfo: null,
    capabilities: { tools: {}, resources: { subscribe: true } },
    instructions: `for ${made.user}`,
    pid,
    inFlight: 0,
    request: request => {
      made.asked.push(request)
      const result = answer(request, made)
      if (result !== null) queueMicrotask(() => settle(request, result))
      return { cancel: () => queueMicrotask(() => request.settle({ kind: 'cancelled' })) }
    },
    follow: (uri, taken) => {
      made.followed.add(uri)
      queueMicrotask(() => taken(null))
      return () => made.followed.delete(uri)
    },
    close: async () => end(made),
    destroy: error => end(made, error),
  }
}

function end(
  made: Opened,
  error = new GatewayError('OUTCOME_UNKNOWN', 'it ended', { phase: 'unknown' }),
): void {
  if (made.ended) return
  made.ended = true
  for (const { settle: settleOne, context } of made.asked) if (context) settleOne({ kind: 'unknown', error })
}

export function nameOf(page: { readonly items: readonly Uint8Array[] }): string[] {
  return page.items.map(item => (JSON.parse(Buffer.from(item).toString()) as { name: string }).name)
}

/** The text of a result, or the code of the error. */
export function said(outcome: Outcome): string {
  if (outcome.kind === 'cancelled') return 'cancelled'
  if (outcome.kind !== 'answered') return outcome.error.code
  if ('error' in outcome.reply) return 'an error'
  const result = JSON.parse(Buffer.from(outcome.reply.result).toString()) as { content: { text: string }[] }
  return result.content[0]?.text ?? ''
}
