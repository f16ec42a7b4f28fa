import type { SupervisorEvents } from './neighbourhood.js'
import type { Clock, ConnectionEvents } from './ports.js'
import { ResourceBook } from './resource-book.js'
import type { Supervisor } from './supervisor.js'

/** What it says to people. */
export function wordsFor(
  upstream: string,
  events: SupervisorEvents,
): Pick<ConnectionEvents, 'violation' | 'stderr'> {
  return {
    violation: what => events.warning(upstream, what),
    stderr: line => events.stderr(upstream, line),
  }
}

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
    ...wordsFor(upstream, events),
  }
}

/** Another one has its place, or nobody: its lists stand until there are new ones. @returns the way back */
export function handOver(old: Supervisor, successor: Supervisor | null): () => void {
  successor?.catalog.borrow(old.catalog)
  // What a person switched off stays off.
  if (old.state === 'disabled' && old.spec.enabled) void successor?.disable()
  old.isLeaving = true
  old.successor = successor ?? 'none'
  return () => {
    old.isLeaving = false
    old.successor = null
  }
}

/** Who follows its resources follows them at the other one. */
export function followOn(old: Supervisor, successor: Supervisor, clock: Clock): void {
  successor.resources = old.resources
  old.resources = new ResourceBook(old.spec.name, clock)
  if (successor.connection) successor.resources.connected(successor.connection)
  else successor.resources.disconnected()
}
