import { type Caller, LIMITS, type UpstreamSpec } from '../../model/index.js'
import { endAtOnce } from '../endings.js'
import { revise } from '../live-spec.js'
import type { UpstreamActions } from '../ports.js'
import type { Supervisor } from '../supervisor.js'
import { isLocal } from './cell.js'
import type { InstanceFigures } from './cell-table.js'
import { Listeners } from './listeners.js'
import { OwnRealm, type Realm, type RealmRoom } from './realm.js'

/** Who sees what: everybody the base, unless there are servers that are not shared by all. */
export class Realms {
  readonly #byPrincipal = new Map<string, OwnRealm>()
  readonly #bySession = new Map<object, OwnRealm>()
  /** Nothing is begun for a session that is over. */
  readonly #ended = new WeakSet<object>()
  readonly #isolated = new Map<string, UpstreamSpec>()
  readonly #ofSessions = new Map<string, UpstreamSpec>()
  readonly listeners = new Listeners(caller => this.of(caller))
  #stopped = false

  constructor(
    private readonly base: Realm,
    specs: readonly UpstreamSpec[],
    private readonly room: RealmRoom,
  ) {
    this.#learn(specs)
  }

  /**
   * The configuration is another one. Instances of servers that left or are others now end; calls under way there may
   * finish. To be followed by a commit of the base.
   * @param updated options that changed, by server
   */
  adopt(
    specs: readonly UpstreamSpec[],
    left: ReadonlySet<string>,
    updated: ReadonlyMap<string, ReadonlySet<string>>,
  ): void {
    this.#learn(specs, left)
    for (const realm of this.#all()) realm.adopt(left, updated)
  }

  /** After that commit. */
  resume(left: ReadonlySet<string>, lost: ReadonlySet<string>): void {
    this.listeners.follow()
    for (const realm of this.#all()) realm.resume(left, lost)
  }

  /** The maps stay the same, and what is in them of servers that stay: realms and connectors look into them. */
  #learn(specs: readonly UpstreamSpec[], left: ReadonlySet<string> = new Set()): void {
    const before = new Map(this.#isolated)
    this.#isolated.clear()
    this.#ofSessions.clear()
    for (const spec of specs) {
      if (spec.isolation === 'shared') continue
      const known = left.has(spec.name) ? undefined : before.get(spec.name)
      if (known) revise(known, spec)
      const live = known ?? { ...spec }
      this.#isolated.set(spec.name, live)
      if (spec.isolation === 'session') this.#ofSessions.set(spec.name, live)
    }
  }

  of({ principal, session }: Caller): Realm {
    // Not one step more for whoever needs none of this.
    if (this.#isolated.size === 0) return this.base
    if (!session || this.#ofSessions.size === 0 || this.#ended.has(session))
      return this.#ofPrincipal(principal)
    const known = this.#bySession.get(session)
    if (known) return known
    // Also where no server is of one identity now: after a reload one may be.
    const below = this.#ofPrincipal(principal)
    const realm = new OwnRealm(principal, below, this.#ofSessions, true, this.room)
    this.#bySession.set(session, realm)
    if (this.#stopped) realm.end()
    return realm
  }

  endSession(session: object): void {
    this.#ended.add(session)
    this.#bySession.get(session)?.end()
    this.#bySession.delete(session)
  }

  /** The credentials of that identity are others now. Resolves when nothing is left of what used the old ones. */
  async forget(principal: string): Promise<void> {
    const realms = this.#all().filter(realm => realm.principal === principal)
    const ends = realms.map(realm => realm.renew())
    for (const realm of realms) realm.reroute()
    await Promise.all(ends)
  }

  figures(name: string): InstanceFigures | null {
    return this.#isolated.has(name) ? this.room.table.figures(name) : null
  }

  /** What a person does to a server is done to all instances of it. */
  actionsFor(base: Supervisor): UpstreamActions {
    const { name } = base.spec
    if (!this.#isolated.has(name)) return base
    const all = () => [base, ...this.room.table.of(name).map(cell => cell.supervisor)]
    const awake = () => all().filter(({ state }) => state !== 'idle')
    return {
      restart: async () => void (await Promise.all(awake().map(one => one.restart()))),
      enable: () => {
        for (const one of all()) one.enable()
      },
      disable: async () => {
        const ends = all().map(one => one.disable())
        for (const realm of this.#all()) realm.forgetYielded(name)
        await Promise.all(ends)
      },
      refresh: async () => void (await Promise.all(all().map(one => one.refresh()))),
      approve: names => approveSome(all(), names),
    }
  }

  /** Ends every instance. Resolves then, with those of which something may be left. */
  stop(): ReturnType<RealmRoom['table']['ended']> {
    this.#close()
    return this.room.table.ended()
  }

  /** Ends every instance at once. */
  kill(): void {
    for (const { supervisor } of this.room.table.all()) endAtOnce(supervisor)
    this.#close()
  }

  #close(): void {
    this.#stopped = true
    for (const realm of this.#all()) realm.end()
    this.#bySession.clear()
    this.#byPrincipal.clear()
  }

  #all(): OwnRealm[] {
    return [...this.#byPrincipal.values(), ...this.#bySession.values()]
  }

  #ofPrincipal(principal: string): Realm {
    if (isLocal(principal)) return this.base
    const known = this.#byPrincipal.get(principal)
    if (known) return known
    if (this.#byPrincipal.size >= LIMITS.instances) this.#prune()
    const realm = new OwnRealm(principal, this.base, this.#isolated, false, this.room)
    if (this.#stopped) realm.end()
    else this.#byPrincipal.set(principal, realm)
    return realm
  }

  #prune(): void {
    for (const [principal, realm] of this.#byPrincipal) {
      if (!realm.isUnused) continue
      realm.end()
      this.#byPrincipal.delete(principal)
    }
  }
}

/** Not every instance offers the same. */
function approveSome(instances: readonly Supervisor[], names: readonly string[] | undefined): void {
  const refusals: unknown[] = []
  for (const one of instances) {
    try {
      one.approve(names)
    } catch (thrown) {
      refusals.push(thrown)
    }
  }
  if (refusals.length === instances.length) throw refusals[0]
}
