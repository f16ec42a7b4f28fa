import {
  describeUpstream,
  type GatewayStatus,
  type Load,
  type ToolListing,
  TransitionFeed,
  type UpstreamStatus,
} from '../control/index.js'
import { EMPTY_MERGED, type Lookalike, lookalikesIn } from '../core/catalog/index.js'
import { LOCAL, type MergedCatalog, type UpstreamView } from '../model/index.js'
import type { TransitionLog } from '../observe/index.js'
import type { Runtime } from '../runtime/gateway.js'
import type { Host, Timer } from '../runtime/ports.js'

/** Transitions are logged as they come; the merged lists are looked at once things have settled. */
export function watchTransitions(runtime: Runtime, host: Host, transitions: TransitionLog): () => void {
  let pending: Timer | null = null
  transitions.observe(runtime.snapshot)
  const leave = runtime.store.onCommit((snapshot, _previous, changed) => {
    transitions.observe(snapshot, changed)
    pending ??= host.clock.after(1_000, () => {
      pending = null
      const { catalog } = runtime.snapshot
      transitions.shadowed(catalog.shadowed)
      transitions.lookalikes(namesAlike(runtime, catalog))
    })
  })
  return () => {
    leave()
    pending?.cancel()
  }
}

/** Which names are shadowed is found by merging all lists; no transition tells of it, so they are not merged for one. */
export function feedTransitions(runtime: Runtime, host: Host): TransitionFeed {
  const feed = new TransitionFeed(host.clock)
  for (const view of runtime.snapshot.upstreams.values())
    feed.prime(describe(runtime, host, view, EMPTY_MERGED))
  runtime.store.onCommit(({ upstreams }, _previous, changed) => {
    for (const name of changed) {
      const view = upstreams.get(name)
      if (view) feed.observe(describe(runtime, host, view, EMPTY_MERGED))
      else feed.forget(name)
    }
  })
  return feed
}

export function describe(
  runtime: Runtime,
  host: Host,
  view: UpstreamView,
  catalog: MergedCatalog,
): UpstreamStatus {
  const status = describeUpstream(view, catalog, loadOf(runtime, view.name), host.clock)
  const alike = namesAlike(runtime, catalog).filter(({ upstream }) => upstream === view.name)
  if (alike.length === 0) return status
  const flagged = alike.map(({ kind, key, like, of }) => ({
    kind,
    name: key,
    detail: `looks like ${like} of ${of}`,
  }))
  return { ...status, catalog: { ...status.catalog, flagged: [...status.catalog.flagged, ...flagged] } }
}

function namesAlike(runtime: Runtime, catalog: MergedCatalog): readonly Lookalike[] {
  return lookalikesIn(catalog, name => runtime.snapshot.upstreams.get(name)?.prefix ?? '')
}

export function describeAll(runtime: Runtime, host: Host): GatewayStatus['upstreams'] {
  const { upstreams, catalog } = runtime.snapshot
  return [...upstreams.values()].map(view => describe(runtime, host, view, catalog))
}

/** What single identities do there counts too. */
function loadOf(runtime: Runtime, name: string): Load {
  const supervisor = runtime.supervisors.get(name)
  if (!supervisor) return { inFlight: 0, queued: 0, lastOkAt: null, instances: null }
  const instances = runtime.instances(name)
  return {
    inFlight: supervisor.inFlight + (instances?.inFlight ?? 0),
    queued: supervisor.admission.queued + (instances?.queued ?? 0),
    lastOkAt: supervisor.lastOkAt,
    instances,
  }
}

export async function listTools(runtime: Runtime): Promise<ToolListing> {
  const scope = { kind: 'all' } as const
  const page = await runtime.list('tools', scope, null, { principal: LOCAL })
  const { listed } = runtime.snapshot.catalog
  return {
    servers: [...runtime.snapshot.upstreams.keys()],
    tools: listed.tools.map(entry => ({ server: entry.upstream, tool: runtime.render(entry) })),
    unavailable: page.unavailable,
  }
}
