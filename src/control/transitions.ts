import type { UpstreamStatus } from './status.js'

/** How many of each kind a server offers, and how fresh that is. */
export interface CatalogFigures {
  readonly state: string
  readonly tools: number
  readonly resources: number
  readonly resourceTemplates: number
  readonly prompts: number
}

interface Change<Name extends string, Value> {
  /** Numbers the transitions of this gateway. */
  readonly id: number
  /** ISO time. */
  readonly at: string
  readonly upstream: string
  readonly change: Name
  /** Null for a server that was just added. */
  readonly from: Value | null
  /** Null for a server that was removed. */
  readonly to: Value | null
  /** Why it is not as it should be; null when it is. */
  readonly reason: string | null
  /** With the change that ends an outage: how long it lasted, from the first failure on. */
  readonly outageMs?: number
}

/** One edge: it is told once, however often the same failure repeats after it. */
export type Transition =
  | Change<'state', string>
  | Change<'health', string>
  | Change<'breaker', string>
  | Change<'catalog', CatalogFigures>

export type TransitionListener = (transition: Transition, status: UpstreamStatus) => void

interface Known {
  readonly status: UpstreamStatus
  /** Monotonic ms since when it is unhealthy. */
  readonly downSince: number | null
}

/** Turns successive statuses of the servers into transitions. */
export class TransitionFeed {
  readonly #known = new Map<string, Known>()
  readonly #listeners = new Set<TransitionListener>()
  #id = 0

  constructor(private readonly clock: { now(): number; wallTime(): number }) {}

  /** Number of the last transition. */
  get lastId(): number {
    return this.#id
  }

  listen(listener: TransitionListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Learns how a server stands without telling anybody. */
  prime(status: UpstreamStatus): void {
    this.#known.set(status.name, { status, downSince: this.#downSince(null, status) })
  }

  observe(status: UpstreamStatus): void {
    const before = this.#known.get(status.name) ?? null
    const downSince = this.#downSince(before, status)
    this.#known.set(status.name, { status, downSince })
    const ended = before?.downSince != null && isUp(status)
    const outage = ended ? { outageMs: Math.round(this.clock.now() - (before.downSince ?? 0)) } : {}
    this.#compare(before?.status ?? null, status, outage)
  }

  /** It is configured no more. */
  forget(name: string): void {
    const before = this.#known.get(name)
    if (!before || !this.#known.delete(name)) return
    const { status } = before
    this.#tell(status, {
      change: 'state',
      from: status.state,
      to: null,
      reason: 'removed from the configuration',
    })
  }

  #compare(
    before: UpstreamStatus | null,
    after: UpstreamStatus,
    outage: { readonly outageMs?: number },
  ): void {
    const { reason } = after
    for (const change of ['state', 'health', 'breaker'] as const) {
      const from = before === null ? null : before[change]
      const to = after[change]
      if (from !== to)
        this.#tell(after, { change, from, to, reason, ...(change === 'breaker' ? {} : outage) })
    }
    const from = before && figuresOf(before)
    const to = figuresOf(after)
    if (JSON.stringify(from) !== JSON.stringify(to))
      this.#tell(after, { change: 'catalog', from, to, reason })
  }

  #tell(status: UpstreamStatus, facts: Omit<Transition, 'id' | 'at' | 'upstream'>): void {
    this.#id += 1
    const at = new Date(this.clock.wallTime()).toISOString()
    const transition = { id: this.#id, at, upstream: status.name, ...facts } as Transition
    // A copy: a listener may leave while it is told.
    for (const listener of [...this.#listeners]) listener(transition, status)
  }

  #downSince(before: Known | null, after: UpstreamStatus): number | null {
    if (after.health === 'unhealthy') return before?.downSince ?? this.clock.now()
    // A restart by hand forgets the failures; the outage goes on until the server works.
    return after.state === 'starting' ? (before?.downSince ?? null) : null
  }
}

function isUp(status: UpstreamStatus): boolean {
  return status.state === 'ready' && status.health !== 'unhealthy'
}

function figuresOf({ catalog }: UpstreamStatus): CatalogFigures {
  const { state, tools, resources, resourceTemplates, prompts } = catalog
  return { state, tools, resources, resourceTemplates, prompts }
}
