import { itemsIn, KINDS, type Kind, type Shadowed, type Snapshot, type UpstreamView } from '../model/index.js'
import type { Log } from './log.js'

/** One log line per change of an upstream's state or cause, not one per request or per try. */
export class TransitionLog {
  readonly #told = new Map<string, string>()
  #shadowed: ReadonlySet<string> = new Set()
  #alike: ReadonlySet<string> = new Set()

  constructor(private readonly log: Log) {}

  /** @param changed default all of them */
  observe({ upstreams }: Snapshot, changed: Iterable<string> = upstreams.keys()): void {
    for (const name of changed) {
      const view = upstreams.get(name)
      if (view) this.#tell(view)
      // One that comes back later is news.
      else this.#told.delete(name)
    }
  }

  /** Names that an earlier server took: told once each. */
  shadowed(entries: readonly Shadowed[]): void {
    const ids = entries.map(({ kind, key, upstream }) => `${kind}\0${key}\0${upstream}`)
    for (const [index, { kind, key, upstream, by, reachableAs }] of entries.entries()) {
      if (this.#shadowed.has(ids[index] ?? '')) continue
      const way = reachableAs ? `it can be called as ${reachableAs}` : 'it cannot be called'
      this.log({ level: 'warn', upstream, message: `${key} (${kind}) is hidden by the one of ${by}; ${way}` })
    }
    this.#shadowed = new Set(ids)
  }

  /** Names that a person may take for another: told once each. */
  lookalikes(
    found: readonly {
      readonly kind: Kind
      readonly key: string
      readonly upstream: string
      readonly like: string
      readonly of: string
    }[],
  ): void {
    const ids = found.map(({ kind, key, like }) => `${kind}\0${key}\0${like}`)
    found.forEach(({ kind, key, upstream, like, of }, index) => {
      if (this.#alike.has(ids[index] ?? '')) return
      this.log({ level: 'warn', upstream, message: `${key} (${kind}) looks like ${like} of ${of}` })
    })
    this.#alike = new Set(ids)
  }

  #tell(view: UpstreamView): void {
    if (view.state === 'starting') return this.#tellRestart(view)
    if (view.state === 'idle' || view.state === 'stopped') return
    if (view.state === 'draining' || view.breaker === 'half_open') return
    if (view.state === 'ready' && KINDS.some(kind => view.catalog[kind].state === 'unknown')) return
    const word = view.state === 'ready' ? view.health : view.state
    const key = `${word}\0${view.reason ?? ''}`
    if (this.#told.get(view.name) === key) return
    this.#told.set(view.name, key)
    if (view.state === 'ready' && view.reason === null)
      this.log({ level: 'info', upstream: view.name, message: readyMessage(view) })
    else if (view.state === 'disabled') this.log({ level: 'info', upstream: view.name, message: 'disabled' })
    else
      this.log({
        level: 'warn',
        upstream: view.name,
        message: `${word}: ${view.reason ?? 'no reason known'}`,
      })
  }

  /** A death that is mended at once is told too; the tries of a longer outage are not. */
  #tellRestart({ name, reason }: UpstreamView): void {
    const told = this.#told.get(name)
    if (!reason?.startsWith(AGAIN) || (told && !/^(healthy|degraded)\0/.test(told))) return
    const key = `backoff\0${reason.slice(AGAIN.length)}`
    if (told === undefined || told === key) return
    this.#told.set(name, key)
    this.log({ level: 'warn', upstream: name, message: reason })
  }
}

const AGAIN = 'starting again after: '

function readyMessage(view: UpstreamView): string {
  const counts = KINDS.flatMap(kind => {
    const { length } = itemsIn(view.catalog[kind])
    return length > 0 ? [`${length} ${kind}`] : []
  })
  return ['ready', ...counts].join(', ')
}
