import { describe, expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import { view } from '../../test/kit/views.js'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { type Component, EMPTY_CATALOG, type FetchedKind, LIMITS, type Scope } from '../model/index.js'
import { Listing } from './listing.js'
import { Store } from './store.js'
import type { Supervisor } from './supervisor.js'

const ALL: Scope = { kind: 'all' }

function tool(key: string): Component {
  return { kind: 'tools', key, bytes: Buffer.from(JSON.stringify({ name: key })) }
}

function listed(part: Partial<FetchedKind>) {
  return { ...EMPTY_CATALOG, tools: { state: 'live', items: [tool('t')], fetchedAt: 0, ...part } } as const
}

function world(look: () => Promise<void> | null = () => null, firstListUntil = 0) {
  const clock = virtualClock()
  const store = new Store()
  let words = 0
  const supervisor = { spec: { lazy: false, prefix: '' }, catalog: { look } } as unknown as Supervisor
  const listing = new Listing({
    clock,
    random: { next: () => 0, token: () => `word-${words++}` },
    store,
    supervisors: new Map([['a', supervisor]]),
    firstListUntil,
  })
  return { clock, store, listing }
}

describe('a list', () => {
  test('waits for lists that are not cached, and no longer than LIMITS.uncachedListMs', async () => {
    const { clock, store, listing } = world(() => new Promise(() => undefined))
    store.commitView(view('a', { catalog: listed({}) }))
    let answered = false
    void listing.page('tools', ALL, null).then(() => {
      answered = true
    })
    await clock.pass(LIMITS.uncachedListMs - 1)
    expect(answered).toBe(false)
    await clock.pass(1)
    expect(answered).toBe(true)
    expect(clock.armed).toBe(0)
  })

  verifies(
    ['CAT-SNAPSHOT'],
    'waits for the first start of a server that is not known, not for one known from an earlier run',
    async () => {
      const { clock, store, listing } = world(undefined, LIMITS.firstListMs)
      const starting = view('a', { state: 'starting', settled: false })
      store.commitView({ ...starting, catalog: listed({ state: 'stale' }) })
      const page = await listing.page('tools', ALL, null)
      expect(page.items).toHaveLength(1)
      expect(page.unavailable).toMatchObject([{ upstream: 'a', state: 'starting', stale: true }])
      store.commitView({ ...starting, state: 'ready', catalog: listed({ state: 'stale' }) })
      const { unavailable } = await listing.page('tools', ALL, null)
      expect(unavailable).toMatchObject([{ upstream: 'a', reason: 'still listing', stale: true }])
      store.commitView(starting)
      let answered = false
      void listing.page('tools', ALL, null).then(() => {
        answered = true
      })
      await clock.pass(LIMITS.firstListMs - 1)
      expect(answered).toBe(false)
      await clock.pass(1)
      expect(answered).toBe(true)
    },
  )

  test('may be kept for as long as the part of it that grows old first', async () => {
    const { clock, store, listing } = world()
    store.commitView(view('a', { catalog: listed({ freshUntil: 90_000 }) }))
    store.commitView(view('b', { catalog: listed({ freshUntil: 60_000 }) }))
    await clock.pass(10_000)
    expect((await listing.page('tools', ALL, null)).ttlMs).toBe(50_000)
    expect((await listing.page('tools', { kind: 'server', name: 'a' }, null)).ttlMs).toBe(80_000)
    store.commitView(view('b', { state: 'backoff', catalog: listed({ state: 'stale' }) }))
    expect((await listing.page('tools', ALL, null)).ttlMs).toBe(5_000)
  })

  test('is for all only where every server says so of its part', async () => {
    const { store, listing } = world()
    store.commitView(view('a', { catalog: listed({ cacheScope: 'public' }) }))
    expect((await listing.page('tools', ALL, null)).cacheScope).toBe('public')
    expect((await listing.page('prompts', ALL, null)).cacheScope).toBe('private')
    store.commitView(view('b', { catalog: listed({}) }))
    expect((await listing.page('tools', ALL, null)).cacheScope).toBe('private')
  })

  test('is paged over one state of it, with cursors that say nothing and that nobody can alter', async () => {
    const { store, listing } = world()
    const many = Array.from({ length: LIMITS.pageSize + 500 }, (_, index) => tool(`t${index}`))
    store.commitView(view('a', { prefix: '', catalog: listed({ items: many }) }))
    const first = await listing.page('tools', ALL, null)
    store.commitView(view('a', { prefix: '', catalog: listed({ items: [tool('other')] }) }))
    const second = await listing.page('tools', ALL, first.nextCursor)
    expect([...first.items, ...second.items].map(String)).toEqual(many.map(({ bytes }) => bytes.toString()))
    expect(second.nextCursor).toBeNull()
    expect(first.nextCursor).toBe('word-0')
    for (const [kind, cursor] of [
      ['tools', 'word-00'],
      ['tools', ''],
      ['prompts', 'word-0'],
    ] as const) {
      await expect(listing.page(kind, ALL, cursor)).rejects.toMatchObject({ code: 'INVALID_PARAMS' })
    }
  })

  verifies(['D56'], 'that was answered cannot be changed by whoever got it', async () => {
    const { store, listing } = world()
    store.commitView(view('a', { catalog: listed({}) }))
    const page = await listing.page('tools', ALL, null)
    ;(page.items as Uint8Array[]).push(Buffer.from('{}'))
    expect((await listing.page('tools', ALL, null)).items).toHaveLength(1)
  })
})
