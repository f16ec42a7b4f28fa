import {
  type Bytes,
  type CacheScope,
  type Component,
  GatewayError,
  type HeaderParam,
  type Kind,
  LIMITS,
  LIST_METHOD,
  type ObjectSlice,
  type Outcome,
  type Timeouts,
} from '../model/index.js'
import { elementsAt, json, member, objectAt, parseAt, slice, stringAt } from '../wire/index.js'
import { headerParamsOf } from './header-params.js'
import type { Clock, Connection, RunningRequest } from './ports.js'

const KEY_MEMBER: Readonly<Record<Kind, string>> = {
  tools: 'name',
  prompts: 'name',
  resources: 'uri',
  resourceTemplates: 'uriTemplate',
}

export interface FetchedList {
  /** `absent`: the server has no such method. */
  readonly state: 'live' | 'absent'
  readonly items: readonly Component[]
  /** Items that were left out, in words. */
  readonly dropped: readonly string[]
  /** What the server says of how long it may be kept: the least of all pages. Absent = nothing. */
  readonly ttlMs?: number
  /** Private if any page is. Absent = the server says nothing. */
  readonly cacheScope?: CacheScope
}

export interface FetchContext {
  readonly connection: Connection
  readonly clock: Clock
  readonly timeouts: Timeouts
  readonly upstream: string
}

/**
 * All pages of one list of one server, or nothing: a list of which one page failed is never passed off as the whole.
 * @throws GatewayError when a page fails, a cursor repeats, or a bound is passed
 */
export async function fetchList(context: FetchContext, kind: Kind): Promise<FetchedList> {
  const deadline = context.clock.now() + context.timeouts.listTotal
  const pages = new PageGuard(context.upstream, kind)
  const items: Component[] = []
  const dropped: string[] = []
  let hints: CacheHints = {}
  let cursor: string | null = null
  do {
    const left = Math.min(context.timeouts.list, deadline - context.clock.now())
    const outcome = await requestPage(context, kind, cursor, left)
    if (outcome.kind === 'cancelled') throw listError(context.upstream, kind, 'was cancelled')
    if (outcome.kind !== 'answered') throw outcome.error
    if ('error' in outcome.reply) {
      if (isMethodNotFound(outcome.reply.error)) return { state: 'absent', items: [], dropped }
      throw listError(context.upstream, kind, `was answered with ${describeError(outcome.reply.error)}`)
    }
    const { result } = outcome.reply
    cursor = readPage(result, kind, pages, items, dropped, context)
    hints = stricter(hints, hintsOf(result))
  } while (cursor !== null)
  return { state: 'live', items, dropped, ...hints }
}

class PageGuard {
  readonly #seen = new Set<string>()
  #pages = 0
  #bytes = 0

  constructor(
    readonly upstream: string,
    readonly kind: Kind,
  ) {}

  admit(bytes: number, cursor: string | null): void {
    this.#pages += 1
    this.#bytes += bytes
    if (this.#bytes > LIMITS.listBytes) this.refuse(`is larger than ${LIMITS.listBytes} bytes`)
    if (cursor === null) return
    if (this.#pages >= LIMITS.listPages) this.refuse(`has more than ${LIMITS.listPages} pages`)
    if (this.#seen.has(cursor)) this.refuse(`repeats the cursor ${JSON.stringify(cursor.slice(0, 40))}`)
    this.#seen.add(cursor)
  }

  refuse(what: string): never {
    throw listError(this.upstream, this.kind, what)
  }
}

function listError(upstream: string, kind: Kind, what: string): GatewayError {
  const reason = `${LIST_METHOD[kind]} ${what}`
  return new GatewayError('UPSTREAM_UNAVAILABLE', `${upstream}: ${reason}.`, {
    upstream,
    reason,
    phase: 'rejected',
  })
}

function requestPage(
  context: FetchContext,
  kind: Kind,
  cursor: string | null,
  timeoutMs: number,
): Promise<Outcome> {
  return new Promise(resolve => {
    let running: RunningRequest | undefined
    const timer = context.clock.after(timeoutMs, () => {
      const seconds = Math.max(0, Math.round(timeoutMs / 100) / 10)
      running?.cancel('list timeout')
      resolve({
        kind: 'unknown',
        error: listError(context.upstream, kind, `got no answer within ${seconds} s`),
      })
    })
    const params = cursor === null ? null : objectAt(json({ cursor }))
    running = context.connection.request({
      method: LIST_METHOD[kind],
      params,
      context: null,
      settle: outcome => {
        timer.cancel()
        resolve(outcome)
      },
    })
  })
}

function readPage(
  result: Bytes,
  kind: Kind,
  guard: PageGuard,
  items: Component[],
  dropped: string[],
  context: FetchContext,
): string | null {
  const object = asObject(result) ?? guard.refuse('was answered with something that is not an object')
  const list = member(object, kind)
  if (!list || result[list.start] !== 0x5b) return guard.refuse(`was answered without a list of ${kind}`)
  const next = member(object, 'nextCursor')
  const cursor = next ? (stringAt(result, next) ?? null) : null
  guard.admit(result.length, cursor)
  for (const span of elementsAt(result, list)) {
    const component = readComponent(slice(result, span), kind)
    if (typeof component === 'string') dropped.push(component)
    else if (isUsable(component, kind, context.connection, dropped)) items.push(component)
    if (items.length > LIMITS.componentsPerKind)
      guard.refuse(`has more than ${LIMITS.componentsPerKind} entries`)
  }
  return cursor
}

type CacheHints = Pick<FetchedList, 'ttlMs' | 'cacheScope'>

/** Members of 2026-07-28; what is not a number of milliseconds from 0 up counts as 0. */
function hintsOf(result: Bytes): CacheHints {
  const object = asObject(result)
  const ttl = object && member(object, 'ttlMs')
  const scope = object && member(object, 'cacheScope')
  const ttlMs = ttl && parseAt(result, ttl)
  return {
    ...(ttl ? { ttlMs: typeof ttlMs === 'number' && ttlMs >= 0 ? ttlMs : 0 } : {}),
    ...(scope ? { cacheScope: stringAt(result, scope) === 'public' ? 'public' : 'private' } : {}),
  }
}

function stricter(a: CacheHints, b: CacheHints): CacheHints {
  const ttls = [a.ttlMs, b.ttlMs].filter(ttl => ttl !== undefined)
  const scopes = [a.cacheScope, b.cacheScope].filter(scope => scope !== undefined)
  return {
    ...(ttls.length > 0 ? { ttlMs: Math.min(...ttls) } : {}),
    ...(scopes.length > 0 ? { cacheScope: scopes.includes('private') ? 'private' : 'public' } : {}),
  }
}

function asObject(bytes: Bytes): ObjectSlice | null {
  return bytes[firstByte(bytes)] === 0x7b ? objectAt(bytes) : null
}

function firstByte(bytes: Bytes): number {
  let at = 0
  while (at < bytes.length && (bytes[at] ?? 0) <= 0x20) at += 1
  return at
}

/** One bad entry costs only itself. */
function readComponent(bytes: Bytes, kind: Kind): Component | string {
  const object = asObject(bytes)
  const keyMember = object && member(object, KEY_MEMBER[kind])
  const key = object && keyMember ? stringAt(bytes, keyMember) : undefined
  if (!object || !key) return `an entry of ${kind} without ${KEY_MEMBER[kind]} was left out`
  // A copy: the page's buffer must not live as long as its smallest entry.
  const copy = Uint8Array.prototype.slice.call(bytes)
  return { kind, key, bytes: Buffer.from(copy.buffer, copy.byteOffset, copy.length) }
}

/** Clients of Streamable HTTP must drop a tool whose `x-mcp-header` annotations are invalid (2026-07-28). */
function isUsable(component: Component, kind: Kind, connection: Connection, dropped: string[]): boolean {
  if (kind !== 'tools') return true
  const params = headerParamsOf(component.bytes)
  if (params === null) {
    if (connection.era === 'modern' && connection.transport === 'http') {
      dropped.push(`tool ${component.key} was left out: its x-mcp-header annotations are invalid`)
      return false
    }
    return true
  }
  if (params.length > 0) (component as { headerParams?: readonly HeaderParam[] }).headerParams = params
  return true
}

function isMethodNotFound(error: Bytes): boolean {
  const object = asObject(error)
  const code = object && member(object, 'code')
  return !!code && parseAt(error, code) === -32601
}

function describeError(error: Bytes): string {
  const object = asObject(error)
  const code = object && member(object, 'code')
  const message = object && member(object, 'message')
  const text = message ? (stringAt(error, message) ?? '') : ''
  return `error ${code ? String(parseAt(error, code)) : '?'}: ${text.slice(0, 200)}`
}
