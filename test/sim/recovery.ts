import { callOf } from './client-wish.js'
import type { Member } from './fleet.js'
import type { Simulation } from './simulation.js'

/** A start on a machine that is well, with a probe that is answered by silence. */
const HANDSHAKE_MS = 3_000
/** A list that is not answered, and the pause before it is asked for again. */
const LIST_MS = 10_000 + 5_000
/** After a rest the lists that fell into it are fetched first. */
const LISTED_MS = 3_000
/** Longer than any client is waited for that was asked something and says nothing. */
const SILENCE_MS = 700_000
const FINE = new Set(['ready', 'idle'])

/**
 * P5: after the last fault, every server becomes usable again, by itself or by being called. Then everything that is
 * still owed comes in.
 */
export async function recover(simulation: Simulation): Promise<void> {
  const { world, fleet, crowd } = simulation
  const isDemanded = world.dice('recovery').chance(0.5)
  const recoveries = fleet.map(member => new Recovery(simulation, member))
  if (isDemanded) for (const recovery of recoveries) recovery.callUntilServed()
  await world.run(world.now + 1)
  while (recoveries.some(recovery => recovery.isOpen)) await world.run(world.now + 1_000)
  const rested = Math.max(...fleet.map(({ plan }) => plan.restsUntil)) + LISTED_MS
  await world.run(Math.max(world.now + crowd.patience.callMs, rested))
  const isSilent = world.history.some(fact => fact.kind === 'asked' && fact.reply === 'ignores')
  if (isSilent) await world.run(world.now + SILENCE_MS)
  await expectServed(simulation)
  expectWholeCatalog(simulation)
}

/** How one server comes back. */
class Recovery {
  #done = false
  #servedBefore: number
  readonly #listedBy: number
  readonly #nonces = new Set<string>()
  #demanded = false
  #wasRare = false

  constructor(
    private readonly simulation: Simulation,
    private readonly member: Member,
  ) {
    const { world, runtime, liftAt } = simulation
    this.#servedBefore = world.history.length
    const isListed = runtime.snapshot.upstreams.get(member.name)?.catalog.tools.state === 'live'
    this.#listedBy = isListed ? 0 : liftAt + LIST_MS
  }

  /** Still within its time, and not back. Notes it as broken when its time is over. */
  get isOpen(): boolean {
    if (this.#done) return false
    const limit = this.#returnedAt + this.#withinMs
    this.#done = this.#demanded ? this.#wasServed() : this.#wasFine()
    if (this.#done) return false
    const { world } = this.simulation
    if (world.now <= limit) return true
    this.#done = true
    const how = this.#demanded ? 'served no call, though it was called every second,' : 'was not ready'
    const what = `${this.member.name} ${how} within ${this.#withinMs} ms of its return (${this.#state})`
    world.note({ kind: 'broken', promise: 'P5', what })
    return false
  }

  callUntilServed(): void {
    this.#demanded = true
    const { world, crowd } = this.simulation
    const client = crowd.visitor()
    const call = () => {
      if (!this.isOpen) return
      const nonce = crowd.nonce()
      this.#nonces.add(nonce)
      client.ask(callOf(this.member, 'look', nonce, crowd.patience.callMs))
      world.after(1_000, call)
    }
    call()
  }

  get #state(): string {
    const view = this.simulation.runtime.snapshot.upstreams.get(this.member.name)
    return `${view?.state}, breaker ${view?.breaker}: ${view?.reason}`
  }

  /** What began in bad times, a start or a list, may have to run into its own limit first; who asked for a rest gets it. */
  get #returnedAt(): number {
    const { world, liftAt } = this.simulation
    const { name, plan, startMs } = this.member
    const own = world.history.filter(fact => fact.kind === 'state' && fact.upstream === name)
    const last = own.findLast(({ at }) => at < liftAt)
    const isStarting = last?.kind === 'state' && last.state === 'starting'
    const ended = own.find(({ at }) => at >= liftAt)?.at
    const stuckUntil = isStarting ? (ended ?? last.at + startMs) : 0
    return Math.max(liftAt, stuckUntil, plan.restsUntil, this.#listedBy)
  }

  /** As promised; five minutes, give or take a fifth, and on demand 15 s, where starts became rare. */
  get #withinMs(): number {
    const state = this.simulation.runtime.snapshot.upstreams.get(this.member.name)?.state
    this.#wasRare ||= state === 'quarantined' || state === 'misconfigured'
    if (this.#demanded) return (this.#wasRare ? 15_000 : 5_000) + HANDSHAKE_MS
    if (this.#wasRare) return 360_000 + HANDSHAKE_MS
    const outageMs = this.member.plan.lastOutageMs + this.#returnedAt - this.simulation.liftAt
    return (outageMs < 60_000 ? 5_000 : 60_000) + HANDSHAKE_MS
  }

  #wasFine(): boolean {
    const { world, liftAt } = this.simulation
    const own = world.history.filter(fact => fact.kind === 'state' && fact.upstream === this.member.name)
    const states = own.flatMap(fact => (fact.kind === 'state' ? [fact] : []))
    const atLift = states.findLast(({ at }) => at <= liftAt)?.state ?? 'idle'
    return FINE.has(atLift) || states.some(({ at, state }) => at >= liftAt && FINE.has(state))
  }

  #wasServed(): boolean {
    const { history } = this.simulation.world
    for (; this.#servedBefore < history.length; this.#servedBefore += 1) {
      const fact = history[this.#servedBefore]
      if (fact?.kind !== 'answer' || fact.answer.said !== 'served') continue
      if (this.#nonces.has(fact.answer.nonce ?? '')) return true
    }
    return false
  }
}

/** Everything is well for a long time: every server serves at once. */
async function expectServed(simulation: Simulation): Promise<void> {
  const { world, fleet, ledger } = simulation
  const first = await callEach(simulation, fleet)
  const unserved = await callEach(simulation, first)
  for (const { name } of unserved) {
    world.note({ kind: 'broken', promise: 'P5', what: `${name} does not serve long after the last fault` })
  }
  // The one operation that fails may have been one of these.
  if (ledger.failing > 0) return
  for (const member of first.filter(one => !unserved.includes(one))) {
    const what = `${member.name} had to be called twice, long after the last fault`
    world.note({ kind: 'broken', promise: 'F13', what })
  }
}

/** @returns those that did not serve within 5 s */
async function callEach({ world, crowd }: Simulation, members: readonly Member[]): Promise<Member[]> {
  const client = crowd.visitor()
  const from = world.history.length
  const asked = members.map(member => {
    const nonce = crowd.nonce()
    client.ask(callOf(member, 'act', nonce, 5_000))
    return { member, nonce }
  })
  await world.run(world.now + 5_000)
  const served = new Set<string | null>()
  for (const fact of world.history.slice(from)) {
    if (fact.kind === 'answer' && fact.answer.said === 'served') served.add(fact.answer.nonce)
  }
  return asked.flatMap(({ member, nonce }) => (served.has(nonce) ? [] : [member]))
}

/** What is listed is what the servers have, where they can tell. */
function expectWholeCatalog({ world, runtime, fleet }: Simulation): void {
  for (const { name, app, tells } of fleet) {
    const catalog = runtime.snapshot.upstreams.get(name)?.catalog.tools
    const known = catalog && 'items' in catalog ? catalog.items.map(({ key }) => key) : []
    const real = app.tools()
    if (!tells || (catalog?.state === 'live' && known.join() === real.join())) continue
    const what = `${name} has ${real.join()}, but ${known.join() || 'nothing'} is known (${catalog?.state})`
    world.note({ kind: 'broken', promise: 'P5-lists', what })
  }
}
