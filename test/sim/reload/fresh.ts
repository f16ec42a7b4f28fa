import { expect } from 'vitest'
import { mergeCatalogs } from '../../../src/core/catalog/index.js'
import type { Entry } from '../../../src/core/reload/index.js'
import { KINDS } from '../../../src/model/index.js'
import { World } from '../world.js'
import { type Picture, pictureOf, type ServerPicture, serverPicture, staleMerge } from './picture.js'
import { asked, CALLERS, createStand, listed, type Stand, useAll, wakeAll, within } from './stand.js'
import { inJson } from './under-way.js'
import { identityOf, isBroken, versionOf } from './versions.js'

const WARM_MS = 15_000

/** A server that works is exactly what it would be; of one that does not, what it told and offered before is still known. */
export async function expectSameAsFresh(stand: Stand): Promise<void> {
  const { entries } = stand.runtime
  expectStarted(stand)
  const world = new World(2)
  const fresh = await world.own(async () => {
    const other = createStand(world, structuredClone(entries))
    other.runtime.boot()
    await world.run(2 * WARM_MS)
    await warm(other)
    return { picture: await pictureOf(other), seen: seenBy(other) }
  })
  await warm(stand)
  compare(await pictureOf(stand), fresh.picture)
  const seen = seenBy(stand)
  for (const [index, servers] of seen.entries()) compareServers(servers, fresh.seen[index] ?? [])
  await expectRouting(stand)
}

/** Before anybody needs them. */
function expectStarted({ runtime: { entries, snapshot } }: Stand): void {
  for (const entry of entries) {
    if ('problem' in entry || entry.isolation !== 'shared' || isBroken(versionOf(entry.transport))) continue
    const state = snapshot.upstreams.get(entry.name)?.state
    if (!entry.enabled) expect([entry.name, state]).toEqual([entry.name, 'disabled'])
    else if (!entry.lazy) expect([entry.name, state]).toEqual([entry.name, 'ready'])
    else expect(['idle', 'ready']).toContain(state)
  }
}

async function warm(stand: Stand): Promise<void> {
  await wakeAll(stand)
  await useAll(stand)
  await stand.world.run(stand.world.now + WARM_MS)
}

function seenBy({ runtime }: Stand): ServerPicture[][] {
  return CALLERS.map(caller => [...runtime.snapshotFor(caller).upstreams.values()].map(serverPicture))
}

function compare(picture: Picture, fresh: Picture): void {
  compareServers(picture.servers, fresh.servers)
  expect({ ...picture, servers: [] }).toEqual({ ...fresh, servers: [] })
}

function compareServers(servers: readonly ServerPicture[], fresh: readonly ServerPicture[]): void {
  expect(servers.map(({ name }) => name)).toEqual(fresh.map(({ name }) => name))
  for (const [index, server] of servers.entries()) {
    const other = fresh[index] as ServerPicture
    expect({ name: server.name, ...server.facts }).toEqual({ name: other.name, ...other.facts })
    if (other.isLive) expect(server).toEqual(other)
    else for (const [state] of Object.values(server.lists)) expect(state).not.toBe('live')
  }
}

/** Each name that is listed reaches the version of the server that has it by the order of the config. */
async function expectRouting(stand: Stand): Promise<void> {
  const { runtime } = stand
  const entries = new Map(runtime.entries.map(entry => [entry.name, entry]))
  for (const caller of CALLERS) {
    expect(staleMerge(runtime.snapshotFor(caller))).toEqual([])
    const { upstreams } = runtime.snapshotFor(caller)
    const merged = mergeCatalogs(upstreams.values())
    for (const kind of KINDS) {
      expect(await listed(stand, kind, caller)).toEqual(merged.listed[kind].map(({ key }) => key))
    }
    for (const kind of ['tools', 'prompts', 'resources'] as const) {
      for (const [key, { upstream }] of merged.byKey[kind]) {
        const said = await within(stand, asked(stand, kind, key, caller), 90_000)
        const isReady = upstreams.get(upstream)?.state === 'ready'
        if (isReady)
          expect([key, said]).toEqual([key, expect.stringContaining(wordsOf(entries.get(upstream)))])
        else expect([key, said]).toEqual([key, 'UPSTREAM_UNAVAILABLE'])
      }
    }
  }
}

/** By which an answer of it is known. */
function wordsOf(entry: Entry | undefined): string {
  if (!entry || 'problem' in entry) return 'nobody'
  return inJson(identityOf(entry.transport))
}
