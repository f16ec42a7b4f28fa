import {
  itemsIn,
  KINDS,
  LOCAL,
  NEVER_CONNECTED,
  type UpstreamSpec,
  type UpstreamView,
} from '../../model/index.js'
import type { Clock } from '../ports.js'
import type { Supervisor } from '../supervisor.js'

/** An instance that one identity alone uses sleeps after this time, unless its entry says otherwise. */
const IDLE_STOP_MS = 600_000

/** One server's instance for one identity or one session: a connection, lists, a breaker and a life of its own. */
export class Cell {
  usedAt: number
  readonly bornAt: number

  constructor(
    readonly name: string,
    readonly principal: string,
    readonly supervisor: Supervisor,
    clock: Clock,
    /** Takes it out of its realm, which goes on listing what it offered. */
    readonly yieldPlace: (cell: Cell) => void,
  ) {
    this.bornAt = clock.now()
    this.usedAt = this.bornAt
  }

  /** Nothing of it runs: what is left is what it offered. */
  get isAsleep(): boolean {
    return this.supervisor.state === 'idle'
  }

  /** Nobody waits for anything of it. */
  get isFree(): boolean {
    const { calls, inFlight, resources, state } = this.supervisor
    return calls === 0 && inFlight === 0 && resources.size === 0 && state !== 'starting'
  }

  get isProgram(): boolean {
    return this.supervisor.spec.transport.kind === 'stdio'
  }
}

/** The entry as an instance runs it: begun by its first use; one of a session keeps its state for as long as that lives. */
export function specOfCell(spec: UpstreamSpec, ofSession: boolean): UpstreamSpec {
  const { idleStopMs } = spec.supervision
  const idle = ofSession ? idleStopMs : (idleStopMs ?? IDLE_STOP_MS)
  return { ...spec, lazy: true, supervision: { ...spec.supervision, idleStopMs: idle } }
}

/** The instance that callers without identity or session use. Where all have their own, nobody may ever need it. */
export function specOfBase(spec: UpstreamSpec, hasIdentities: boolean): UpstreamSpec {
  const isRare = spec.isolation === 'session' || (spec.isolation === 'principal' && hasIdentities)
  return isRare ? specOfCell(spec, false) : spec
}

/** What is seen of a server that one has no instance of: nothing of what others have. */
export function unusedView(
  seen: UpstreamView,
  reason = 'not started: nobody used it here yet',
): UpstreamView {
  const isDisabled = seen.state === 'disabled'
  return {
    ...NEVER_CONNECTED,
    name: seen.name,
    prefix: seen.prefix,
    transport: seen.transport,
    state: isDisabled ? 'disabled' : 'idle',
    health: 'unknown',
    since: seen.since,
    reason: isDisabled ? seen.reason : reason,
    lastError: null,
    unavailable: seen.unavailable,
    isolation: seen.isolation,
  }
}

/** What is seen of an instance that had to make room: it sleeps. */
export function yieldedView(view: UpstreamView): UpstreamView {
  return {
    ...unusedView(view, 'asleep: it had to make room for others; the next call starts it anew'),
    protocolVersion: view.protocolVersion,
    serverInfo: view.serverInfo,
    instructions: view.instructions,
    catalog: view.catalog,
  }
}

/** Whether anything is known of what it offers. */
export function isListed({ catalog }: UpstreamView): boolean {
  return KINDS.some(kind => 'fetchedAt' in catalog[kind] || itemsIn(catalog[kind]).length > 0)
}

export function isLocal(principal: string): boolean {
  return principal === LOCAL
}
