import { callOf } from './client-wish.js'
import type { Member } from './fleet.js'
import type { Simulation } from './simulation.js'

/** From a finished handshake to answered lists, on a machine that is well. */
const START_MS = 3_000
const LONG_OUTAGE_MS = 60_000

/**
 * P5: after the last fault, every server becomes usable again, by itself or by being called. Then everything that is
 * still owed comes in.
 */
export async function recover(simulation: Simulation): Promise<void> {
  const { world, fleet, liftAt } = simulation
  const isDemanded = world.dice('recovery').chance(0.5)
  for (const member of fleet) {
    if (isDemanded) demandUntilServed(simulation, member)
    else await expectReady(simulation, member)
  }
  await world.run(Math.max(world.now, liftAt) + simulation.crowd.patience.callMs)
  await expectServed(simulation)
  expectWholeCatalog(simulation)
}

/** By itself: within 5 s of a short outage, 60 s of a longer one, and five minutes where retrying hardly helped. */
async function expectReady({ world, runtime, liftAt }: Simulation, member: Member): Promise<void> {
  const { name, plan } = member
  const view = () => runtime.snapshot.upstreams.get(name)
  const isFine = () => view()?.state === 'ready' || view()?.state === 'idle'
  const slow = plan.troubles.some(({ condition }) => condition === 'missing')
  const within = slow ? 300_000 : plan.longestOutage < LONG_OUTAGE_MS ? 60_000 : 60_000
  if (await world.runUntil(isFine, liftAt + within + START_MS)) return
  const what = `${name} is ${view()?.state} (${view()?.reason}) ${within} ms after its return`
  world.note({ kind: 'broken', promise: 'P5', what })
}

/** On demand: somebody calls every second, and is served within 5 s. */
function demandUntilServed({ world, crowd, liftAt }: Simulation, { name }: Member): void {
  const client = crowd.visitor()
  const by = liftAt + 5_000 + START_MS
  let servedAt: number | null = null
  const isServed = (nonce: string) =>
    world.history.some(fact => fact.kind === 'answer' && fact.answer.said === 'served' && fact.answer.nonce === nonce)
  const nonces: string[] = []
  const look = () => {
    if (nonces.some(isServed)) servedAt ??= world.now
    if (servedAt !== null) return
    if (world.now >= by) {
      world.note({ kind: 'broken', promise: 'P5', what: `${name} served no call within 5 s of its return` })
      return
    }
    const nonce = crowd.nonce()
    nonces.push(nonce)
    client.ask(callOf(name, 'look', nonce, crowd.patience.callMs))
    world.after(1_000, look)
  }
  look()
}

/** Everything is well for a long time: every server serves at once. */
async function expectServed({ world, crowd, fleet }: Simulation): Promise<void> {
  const client = crowd.visitor()
  const from = world.history.length
  const nonces = fleet.map(({ name }) => {
    const nonce = crowd.nonce()
    client.ask(callOf(name, 'act', nonce, 5_000))
    return nonce
  })
  await world.run(world.now + 5_000)
  const served = new Set(
    world.history.slice(from).flatMap(fact => (fact.kind === 'answer' && fact.answer.said === 'served' ? [fact.answer.nonce] : [])),
  )
  fleet.forEach(({ name }, index) => {
    if (served.has(nonces[index] ?? '')) return
    world.note({ kind: 'broken', promise: 'P5', what: `${name} does not serve long after the last fault` })
  })
}

/** What is listed is what the servers have. */
function expectWholeCatalog({ world, runtime, fleet }: Simulation): void {
  for (const { name, app } of fleet) {
    const catalog = runtime.snapshot.upstreams.get(name)?.catalog.tools
    const known = catalog && 'items' in catalog ? catalog.items.map(({ key }) => key) : []
    const real = app.tools()
    if (catalog?.state === 'live' && known.join() === real.join()) continue
    const what = `${name} has ${real.join()}, but ${known.join() || 'nothing'} is known (${catalog?.state})`
    world.note({ kind: 'broken', promise: 'P5', what })
  }
}
