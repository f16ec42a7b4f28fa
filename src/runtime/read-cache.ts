import { type Bytes, type Call, LIMITS, type Outcome } from '../model/index.js'
import { editObject, json, member, objectAt, parseAt, stringAt } from '../wire/index.js'
import type { Clock } from './ports.js'

interface Kept {
  readonly result: Bytes
  /** Monotonic ms. */
  readonly until: number
  readonly upstream: string
}

/**
 * Contents of resources for as long as their server says that they are fresh (2026-07-28, caching): a server that says
 * nothing is asked each time. What it calls private is kept for the one identity that asked.
 */
export class ReadCache {
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>()
  #bytes = 0
  /** Counts the ends of everything kept: what was asked before one is too old to be kept after it. */
  age = 0

  /**
   * @param maxTtlMs bound of what the server says; 0 = nothing is kept
   * @param maxBytes of everything that is kept
   */
  constructor(
    private readonly clock: Clock,
    private maxTtlMs: number,
    private readonly maxBytes: number = LIMITS.keptReadsBytes,
  ) {}

  limitTtl(maxTtlMs: number): void {
    if (maxTtlMs < this.maxTtlMs) this.clear()
    this.maxTtlMs = maxTtlMs
  }

  /** Bytes of everything that is kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** The kept answer, with what is left of its time; null = ask. */
  find(call: Call, uri: string): Outcome | null {
    if (this.#kept.size === 0 || !isPlainRead(call)) return null
    for (const key of keysFor(call, uri)) {
      const kept = this.#kept.get(key)
      if (!kept) continue
      this.#remove(key, kept)
      const left = Math.floor(kept.until - this.clock.now())
      if (left <= 0) continue
      this.#add(key, kept)
      const result = editObject(objectAt(kept.result), new Map([['ttlMs', json(left)]]))
      return { kind: 'answered', reply: { result }, era: 'modern', upstream: kept.upstream }
    }
    return null
  }

  /** @param askedAt the age at the time that it was asked */
  keep(call: Call, uri: string, outcome: Outcome, askedAt: number): void {
    if (
      askedAt !== this.age ||
      this.maxTtlMs === 0 ||
      outcome.kind !== 'answered' ||
      outcome.era !== 'modern'
    )
      return
    if (!('result' in outcome.reply) || !isPlainRead(call)) return
    const { result } = outcome.reply
    if (result.length > LIMITS.keptReadBytes) return
    const hints = hintsOf(result)
    if (!hints) return
    const [own, shared] = keysFor(call, uri)
    const key = hints.isPublic ? shared : own
    const known = this.#kept.get(key)
    if (known) this.#remove(key, known)
    const until = this.clock.now() + Math.min(hints.ttlMs, this.maxTtlMs)
    // A copy: the message that it came in must not live as long.
    this.#add(key, { result: Buffer.from(result), until, upstream: outcome.upstream })
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= this.maxBytes) break
      this.#remove(oldest, kept)
    }
  }

  clear(): void {
    this.age += 1
    this.#kept.clear()
    this.#bytes = 0
  }

  #add(key: string, kept: Kept): void {
    this.#kept.set(key, kept)
    this.#bytes += kept.result.length
  }

  #remove(key: string, kept: Kept): void {
    this.#kept.delete(key)
    this.#bytes -= kept.result.length
  }
}

/** One that carries answers to a server's questions is a continuation, and its result is for it alone. */
function isPlainRead({ method, params }: Call): boolean {
  if (method !== 'resources/read' || !params) return false
  return params.members.every(({ key }) => key === 'uri' || key === '_meta')
}

function keysFor({ context }: Call, uri: string): readonly [own: string, shared: string] {
  return [`${JSON.stringify(context.principal)} ${uri}`, ` ${uri}`]
}

/** Null = not to be kept. */
function hintsOf(result: Bytes): { readonly ttlMs: number; readonly isPublic: boolean } | null {
  const object = objectAt(result)
  const type = member(object, 'resultType')
  if (type && stringAt(result, type) !== 'complete') return null
  const ttl = member(object, 'ttlMs')
  const ttlMs = ttl && parseAt(result, ttl)
  if (typeof ttlMs !== 'number' || !(ttlMs > 0)) return null
  const scope = member(object, 'cacheScope')
  return { ttlMs, isPublic: scope !== undefined && stringAt(result, scope) === 'public' }
}
