import { KINDS, type UpstreamCatalog } from '../model/index.js'
import type { SupervisorEvents } from './neighbourhood.js'
import type { Clock, ConnectionEvents } from './ports.js'
import { ResourceBook } from './resource-book.js'
import type { Supervisor } from './supervisor.js'

/** What a connection tells, as long as it is the one that counts. Its words for people are heard in any case. */
export function whileCurrent(
  current: () => boolean,
  upstream: string,
  events: SupervisorEvents,
  heard: Pick<ConnectionEvents, 'closed' | 'notification'>,
): ConnectionEvents {
  return {
    closed: error => {
      if (current()) heard.closed(error)
    },
    notification: (method, params) => {
      if (current()) heard.notification(method, params)
    },
    violation: what => events.warning(upstream, what),
    stderr: line => events.stderr(upstream, line),
  }
}

/**
 * Another one has its place, or nobody: who follows its resources follows them there, and its lists stand until there
 * are new ones.
 */
export function handOver(old: Supervisor, successor: Supervisor | null, clock: Clock): void {
  old.successor = successor ?? 'none'
  if (!successor) return
  successor.resources = old.resources
  old.resources = new ResourceBook(old.spec.name, clock)
  if (successor.connection) successor.resources.connected(successor.connection)
  else successor.resources.disconnected()
  successor.catalog.restore(aged(old.catalog.offered), 0)
  // What a person switched off stays off.
  if (old.state === 'disabled' && old.spec.enabled) void successor.disable()
}

/** Lists of a connection that is another one's: known, and no longer of this moment. */
function aged(catalog: UpstreamCatalog): UpstreamCatalog {
  const old = { ...catalog }
  for (const kind of KINDS) {
    const known = old[kind]
    if (known.state === 'live') old[kind] = { ...known, state: 'stale' }
  }
  return old
}
