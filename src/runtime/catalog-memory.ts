import {
  type HttpSpec,
  KINDS,
  type KindCatalog,
  LIMITS,
  type StdioSpec,
  type UpstreamCatalog,
  type UpstreamSpec,
} from '../model/index.js'
import type { Host, SavedCatalog, Timer } from './ports.js'

/** What is kept is known to be so still, as long as there is a connection: said again after this time. */
const CONFIRM_MS = 60 * 60_000

/**
 * What one server offered, on disk: for the next start, while it is down. Lists that belong to one caller alone are
 * never given to it.
 */
export class CatalogMemory {
  readonly #id: string | null
  #confirming: Timer | null = null

  constructor(
    private readonly spec: UpstreamSpec,
    private readonly host: Pick<Host, 'clock' | 'memory'>,
  ) {
    this.#id = host.memory?.digest(identityOf(spec)) ?? null
  }

  /** What was known when a gateway last ran, and how old that is; null when it is nothing, or too old. */
  recall(): { readonly catalog: UpstreamCatalog; readonly ageMs: number } | null {
    const { memory, clock } = this.host
    if (!memory || this.#id === null) return null
    const saved: SavedCatalog | 'lost' | null = memory.catalogs.load(this.#id, this.spec.name)
    if (saved === null || saved === 'lost') return null
    // A wall clock that was set back makes nothing younger than it is.
    const ageMs = Math.max(0, clock.wallTime() - saved.knownAt)
    return ageMs < LIMITS.staleMs ? { catalog: saved.catalog, ageMs } : null
  }

  /** It is so now: there is a connection, or was one until this moment. */
  keep(catalog: UpstreamCatalog, connected: boolean): void {
    const { memory, clock } = this.host
    if (!memory || this.#id === null || KINDS.every(kind => isNothing(catalog[kind]))) return
    memory.catalogs.save(this.#id, { catalog, knownAt: clock.wallTime() })
    this.#confirming?.cancel()
    this.#confirming = connected ? clock.after(CONFIRM_MS, () => this.keep(catalog, true)) : null
  }
}

function isNothing(known: KindCatalog): boolean {
  return !('items' in known) || (known.state === 'failed' && known.items.length === 0)
}

/** The same server with the same rights: under other arguments, another address or another token it is another one. */
export function identityOf({ name, transport }: UpstreamSpec): string {
  return JSON.stringify(['catalog', name, transportIn(transport)])
}

/** The same server: with a new token it still is. Where it runs, and with what, belongs to it; its rights do not. */
export function pinIdentityOf({ name, transport }: UpstreamSpec): string {
  const where = transport.kind === 'stdio' ? [transport.command, ...transport.args] : addressOf(transport.url)
  return JSON.stringify(['pins', name, where])
}

function transportIn(transport: StdioSpec | HttpSpec): readonly unknown[] {
  if (transport.kind !== 'stdio') return [transport.kind, transport.url, sorted(transport.headers)]
  const { command, args, cwd, env } = transport
  return ['stdio', command, args, cwd ?? null, sorted(env)]
}

function sorted(words: Readonly<Record<string, string>>): readonly (readonly [string, string])[] {
  return Object.entries(words).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Tokens stand in the query and before the host. */
function addressOf(url: string): string {
  try {
    const { origin, pathname } = new URL(url)
    return origin + pathname
  } catch {
    return url
  }
}
