import { mergeCatalogs } from '../../../src/core/catalog/index.js'
import { itemsIn, KINDS, type Snapshot, type UpstreamView } from '../../../src/model/index.js'
import { runs, type Stand, specsOf } from './stand.js'
import { isBroken, versionOf } from './versions.js'

/** One server as people see it, without times and counts. */
export interface ServerPicture {
  readonly name: string
  readonly facts: Readonly<Record<string, unknown>>
  /** What a handshake told, the last one that there was. */
  readonly told: Readonly<Record<string, unknown>>
  readonly lists: Readonly<Record<string, readonly string[]>>
  /** Its lists are of now, and so is what it told. */
  readonly isLive: boolean
}

/** Everything that a person or a client can tell apart, and what it costs the machine. */
export interface Picture {
  readonly servers: readonly ServerPicture[]
  readonly specs: readonly unknown[]
  /** What really runs, by what it was started with. */
  readonly children: readonly string[]
  /** Pools, pipes and timers; null where a server is away: then it depends on when it was last tried. */
  readonly held: readonly number[] | null
}

const LOOK_MS = 170
const TRYING: ReadonlySet<string> = new Set(['starting', 'backoff', 'quarantined'])

export function serverPicture(view: UpstreamView): ServerPicture {
  const isTrying = TRYING.has(view.state)
  const { name, prefix, unavailable, isolation, settled, breaker, state, health, findings } = view
  const isLive = state === 'ready'
  return {
    name,
    isLive,
    facts: {
      prefix,
      unavailable,
      isolation,
      settled,
      breaker,
      state: isTrying ? 'trying' : state,
      health: isTrying ? 'down' : health,
      transport: isLive ? view.transport : null,
      // How a start fails may depend on the moment; that there is a reason does not.
      reason: isTrying ? view.reason !== null : view.reason,
      findings,
      hasPid: isLive && view.pid !== null,
    },
    told: {
      version: view.protocolVersion,
      info: view.serverInfo,
      instructions: view.instructions,
    },
    lists: Object.fromEntries(KINDS.map(kind => [kind, keysOf(view, kind)])),
  }
}

function keysOf(view: UpstreamView, kind: (typeof KINDS)[number]): readonly string[] {
  const known = view.catalog[kind]
  return [known.state, ...itemsIn(known).map(({ key, bytes }) => `${key} ${Buffer.from(bytes).toString()}`)]
}

/** What it needs where nothing is under way; checks and fetches come and go. */
async function leastHeld({ world, ledger }: Stand): Promise<readonly number[]> {
  let least: readonly [number, number, number] = [Infinity, Infinity, Infinity]
  for (let look = 0; look < 10; look += 1) {
    const [pools, pipes, timers] = least
    const { size } = ledger.timers
    least = [Math.min(pools, ledger.pools.size), Math.min(pipes, ledger.pipes.size), Math.min(timers, size)]
    await world.run(world.now + LOOK_MS)
  }
  return least
}

export async function pictureOf(stand: Stand): Promise<Picture> {
  const { runtime, ledger } = stand
  const views = [...runtime.snapshot.upstreams.values()]
  const isTried = runtime.entries.filter(
    entry => !('problem' in entry) && isBroken(versionOf(entry.transport)),
  )
  // A request over HTTP leaves a timer for seconds, and a health check may be one at any time.
  const isQuiet =
    isTried.length === 0 && views.every(view => view.state === 'ready' && view.transport === 'stdio')
  return {
    servers: views.map(serverPicture),
    specs: specsOf(stand),
    children: [...ledger.processes.values()]
      .filter(command => !isTried.some(({ name }) => runs(command, name)))
      .sort(),
    held: isQuiet ? await leastHeld(stand) : null,
  }
}

/** The merged lists are those of the views that are shown, in their order. */
export function staleMerge({ upstreams, catalog }: Snapshot): string[] {
  const anew = mergeCatalogs(upstreams.values())
  const text = (merged: Snapshot['catalog']) =>
    JSON.stringify([
      KINDS.map(kind => merged.listed[kind].map(({ key, upstream }) => [key, upstream])),
      KINDS.map(kind => [...merged.byKey[kind]].map(([key, { upstream }]) => [key, upstream])),
      merged.shadowed,
    ])
  return text(anew) === text(catalog) ? [] : [`${text(catalog)} is shown instead of ${text(anew)}`]
}
