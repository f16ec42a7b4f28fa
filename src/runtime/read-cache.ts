import { canonicalJson } from '../core/catalog/index.js'
import { type Bytes, type Call, EMPTY_OBJECT, type Era, LIMITS, type Outcome } from '../model/index.js'
import { asBuffer, editObject, json, member, objectAt, parseAt, slice, stringAt } from '../wire/index.js'
import type { Clock } from './ports.js'

interface Kept {
  readonly result: Bytes
  /** Monotonic ms. */
  readonly until: number
  readonly upstream: string
  readonly era: Era
}

/** What a request asks for. */
interface Subject {
  readonly key: string
  /** Milliseconds that the configuration gives the results of that tool; null for a resource: its server says. */
  readonly ttlMs: number | null
}

/**
 * Contents of resources for as long as their server says that they are fresh (2026-07-28, caching): a server that says
 * nothing is asked each time. What it calls private is kept for the one identity that asked. And results of those tools
 * that the configuration names, for the identity that asked.
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
   * @param resultTtlOf milliseconds for which results of a tool are kept; 0 = not at all
   */
  constructor(
    private readonly clock: Clock,
    private maxTtlMs: number,
    private readonly maxBytes: number = LIMITS.keptReadsBytes,
    private readonly resultTtlOf: (tool: string) => number = () => 0,
  ) {}

  limitTtl(maxTtlMs: number): void {
    if (maxTtlMs < this.maxTtlMs) this.clear()
    this.maxTtlMs = maxTtlMs
  }

  /** Bytes of everything that is kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** The kept answer, with what is left of its time; null = ask. @param name its server's own URI or name */
  find(call: Call, name: string): Outcome | null {
    const subject = this.#kept.size === 0 ? null : this.#subjectOf(call, name)
    if (!subject) return null
    for (const key of keysFor(call, subject)) {
      const kept = this.#kept.get(key)
      if (!kept) continue
      this.#remove(key, kept)
      const left = Math.floor(kept.until - this.clock.now())
      if (left <= 0) continue
      this.#add(key, kept)
      const { upstream, era } = kept
      const result = subject.ttlMs === null ? withTtl(kept.result, left) : kept.result
      return { kind: 'answered', reply: { result }, era, upstream }
    }
    return null
  }

  /** @param askedAt the age at the time that it was asked */
  keep(call: Call, name: string, outcome: Outcome, askedAt: number): void {
    if (askedAt !== this.age || outcome.kind !== 'answered' || !('result' in outcome.reply)) return
    const { result } = outcome.reply
    const subject = result.length > LIMITS.keptReadBytes ? null : this.#subjectOf(call, name)
    const hints = subject && (subject.ttlMs === null ? hintsOf(result) : resultHints(result, subject.ttlMs))
    if (!subject || !hints || (subject.ttlMs === null && outcome.era !== 'modern')) return
    const [own, shared] = keysFor(call, subject)
    const key = hints.isPublic ? shared : own
    const known = this.#kept.get(key)
    if (known) this.#remove(key, known)
    const until = this.clock.now() + (subject.ttlMs ?? Math.min(hints.ttlMs, this.maxTtlMs))
    const { upstream, era } = outcome
    // A copy: the message that it came in must not live as long.
    this.#add(key, { result: Buffer.from(result), until, upstream, era })
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

  /** Null = nothing of it is ever kept. */
  #subjectOf({ method, params }: Call, name: string): Subject | null {
    if (!params) return null
    if (method === 'resources/read') {
      const isPlain = params.members.every(({ key }) => key === 'uri' || key === '_meta')
      return isPlain && this.maxTtlMs > 0 ? { key: `resource ${name}`, ttlMs: null } : null
    }
    const ttlMs = method === 'tools/call' ? this.resultTtlOf(name) : 0
    if (ttlMs === 0 || !params.members.every(({ key }) => TOOL_MEMBERS.has(key))) return null
    const found = member(params, 'arguments')
    const given = found ? slice(params.bytes, found) : EMPTY_OBJECT
    if (given.length > LONGEST_ARGUMENTS) return null
    return { key: `tool ${JSON.stringify(name)} ${canonicalJson(asBuffer(given).toString('utf8'))}`, ttlMs }
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

/** A call that carries answers to a server's questions is a continuation, and its result is for it alone. */
const TOOL_MEMBERS: ReadonlySet<string> = new Set(['name', 'arguments', '_meta'])
const LONGEST_ARGUMENTS = 16 * 1024

function keysFor({ context }: Call, { key }: Subject): readonly [own: string, shared: string] {
  return [`${JSON.stringify(context.principal)} ${key}`, ` ${key}`]
}

function withTtl(result: Bytes, ttlMs: number): Bytes {
  return editObject(objectAt(result), new Map([['ttlMs', json(ttlMs)]]))
}

/** A failure is told once, and a question is no result. */
function resultHints(result: Bytes, ttlMs: number): Hints | null {
  const object = objectAt(result)
  const type = member(object, 'resultType')
  if (type && stringAt(result, type) !== 'complete') return null
  const isError = member(object, 'isError')
  return isError && parseAt(result, isError) !== false ? null : { ttlMs, isPublic: false }
}

interface Hints {
  readonly ttlMs: number
  readonly isPublic: boolean
}

/** Null = not to be kept. */
function hintsOf(result: Bytes): Hints | null {
  const object = objectAt(result)
  const type = member(object, 'resultType')
  if (type && stringAt(result, type) !== 'complete') return null
  const ttl = member(object, 'ttlMs')
  const ttlMs = ttl && parseAt(result, ttl)
  if (typeof ttlMs !== 'number' || !(ttlMs > 0)) return null
  const scope = member(object, 'cacheScope')
  return { ttlMs, isPublic: scope !== undefined && stringAt(result, scope) === 'public' }
}
