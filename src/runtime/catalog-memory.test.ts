import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type FakeMemory, fakeMemory } from '../../test/kit/fake-memory.js'
import { SPEC } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { type VirtualClock, virtualClock } from '../../test/kit/virtual-clock.js'
import { itemsIn, LIMITS, type Outcome, type UpstreamSpec } from '../model/index.js'
import { CatalogKeeper } from './catalog-keeper.js'
import { identityOf, pinIdentityOf } from './catalog-memory.js'
import type { Connection, UpstreamRequest } from './ports.js'

const HOUR_MS = 60 * 60_000
const PATIENT = { ...SPEC, timeouts: { ...SPEC.timeouts, list: 10_000, listTotal: 30_000 } }

interface Setting {
  readonly memory?: FakeMemory
  readonly clock?: VirtualClock
  readonly spec?: Partial<UpstreamSpec>
  readonly shared?: boolean
}

/** A keeper of one run of a gateway; the memory outlives it. */
function run({ memory = fakeMemory(), clock = virtualClock(), spec = {}, shared = true }: Setting = {}) {
  const host = { clock, random: { next: () => 0, token: () => '' }, memory }
  const keeper = new CatalogKeeper(
    { ...PATIENT, ...spec },
    host,
    {
      changed: () => undefined,
      warning: () => undefined,
      refused: () => undefined,
      restMs: () => 0,
      asleep: () => false,
    },
    shared,
  )
  const connect = async (...names: string[]) => {
    const connection = {
      capabilities: { tools: {} },
      era: 'modern',
      transport: 'http',
      request: (request: UpstreamRequest) => {
        const result = Buffer.from(JSON.stringify({ tools: names.map(name => ({ name })) }))
        const outcome: Outcome = { kind: 'answered', reply: { result }, era: 'modern', upstream: 'a' }
        queueMicrotask(() => request.settle(outcome))
        return { cancel: () => undefined }
      },
    } as unknown as Connection
    keeper.connected(connection, () => undefined)
    await clock.pass(0)
  }
  const names = () => itemsIn(keeper.current.tools).map(({ key }) => key)
  return { keeper, memory, clock, connect, names, state: () => keeper.current.tools.state }
}

describe('what a server offered', () => {
  verifies(['CAT-SNAPSHOT'], 'is known, as stale, to the next gateway before the server is up', async () => {
    const { connect, keeper, memory, clock } = run()
    await connect('read', 'write')
    keeper.stop()
    const next = run({ memory, clock })
    expect(next.names()).toEqual(['read', 'write'])
    expect(next.keeper.current).toMatchObject({
      tools: { state: 'stale', fetchedAt: 0 },
      prompts: { state: 'absent' },
    })
    await next.connect('read')
    expect(next.names()).toEqual(['read'])
    expect(next.state()).toBe('live')
  })

  verifies(['CAT-SNAPSHOT'], 'is forgotten a day after it was last known to be so', async () => {
    const { connect, keeper, memory, clock } = run()
    await connect('read')
    await clock.pass(30 * HOUR_MS)
    keeper.disconnected()
    await clock.pass(LIMITS.staleMs - 1)
    const late = run({ memory, clock })
    expect(late.names()).toEqual(['read'])
    await clock.pass(1)
    expect(late.names()).toEqual([])
    expect(late.state()).toBe('unknown')
    expect(run({ memory, clock }).names()).toEqual([])
    keeper.stop()
    late.keeper.stop()
  })

  test('is said again every hour while the server is up, so that a crash makes it no older', async () => {
    const { connect, memory, clock } = run()
    await connect('read')
    await clock.pass(48 * HOUR_MS + 60_000)
    const saved = [...memory.lists.values()][0]
    expect(saved).toMatchObject({ knownAt: 48 * HOUR_MS })
    expect(run({ memory, clock }).names()).toEqual(['read'])
  })

  test('is no younger for a wall clock that was set back', async () => {
    const first = run()
    await first.clock.pass(HOUR_MS)
    await first.connect('read')
    first.keeper.stop()
    expect(run({ memory: first.memory, clock: virtualClock() }).names()).toEqual(['read'])
  })

  verifies(['E69'], 'never reaches the disk where it is what one caller alone may see', async () => {
    const { connect, keeper, memory, clock } = run({ shared: false })
    await connect('private')
    keeper.stop()
    expect([...memory.lists, ...memory.pinned]).toEqual([])
    expect(run({ memory, clock }).names()).toEqual([])
    const shared = run({ memory })
    await shared.connect('common')
    expect(run({ memory, shared: false }).names()).toEqual([])
  })

  test('passes through the filters of now, not of then', async () => {
    const { connect, memory, clock } = run()
    await connect('read', 'drop')
    expect(run({ memory, clock, spec: { tools: { deny: ['drop'] } } }).names()).toEqual(['read'])
  })

  test('is kept even when its file was lost', async () => {
    const { connect, memory, clock } = run()
    await connect('read')
    for (const id of memory.lists.keys()) memory.lists.set(id, 'lost')
    const next = run({ memory, clock })
    expect(next.names()).toEqual([])
    await next.connect('read')
    expect(run({ memory, clock }).names()).toEqual(['read'])
  })
})

const STDIO = { kind: 'stdio', command: 'x', args: ['-a'], env: { KEY: 'secret' } } as const
const HTTP = { kind: 'http', url: 'https://h/mcp?key=secret', headers: { Authorization: 'secret' } } as const
const at = (transport: UpstreamSpec['transport'], name = 'a'): UpstreamSpec => ({ ...SPEC, name, transport })

describe('the identity of a server', () => {
  verifies(
    ['CAT-SNAPSHOT'],
    'is another one with any other name, argument, address, variable or header',
    () => {
      const all = [
        at(STDIO),
        at(STDIO, 'b'),
        at({ ...STDIO, command: 'y' }),
        at({ ...STDIO, args: ['-b'] }),
        at({ ...STDIO, args: ['-', 'a'] }),
        at({ ...STDIO, cwd: '/' }),
        at({ ...STDIO, env: { KEY: 'other' } }),
        at({ ...STDIO, env: {} }),
        at(HTTP),
        at({ ...HTTP, kind: 'sse' }),
        at({ ...HTTP, url: 'https://h/mcp?key=other' }),
        at({ ...HTTP, headers: { Authorization: 'other' } }),
      ].map(identityOf)
      expect(new Set(all).size).toBe(all.length)
    },
  )

  test('does not depend on the order of variables and headers, nor on prefix, times and filters', () => {
    const two = (env: Record<string, string>) => identityOf(at({ ...STDIO, env }))
    expect(two({ A: '1', B: '2' })).toBe(two({ B: '2', A: '1' }))
    expect(identityOf({ ...at(STDIO), prefix: 'p', lazy: true, tools: { deny: ['x'] } })).toBe(
      identityOf(at(STDIO)),
    )
  })

  verifies(['CAT-PIN-WARN'], 'to its pins stays the same with other credentials', () => {
    const words = fc.dictionary(fc.string(), fc.string())
    fc.assert(
      fc.property(words, fc.webQueryParameters(), (secrets, query) => {
        expect(pinIdentityOf(at({ ...STDIO, env: secrets }))).toBe(pinIdentityOf(at(STDIO)))
        const rotated = at({ ...HTTP, url: `https://user:pass@h/mcp?${query}`, headers: secrets })
        expect(pinIdentityOf(rotated)).toBe(pinIdentityOf(at(HTTP)))
      }),
    )
    expect(pinIdentityOf(at({ ...HTTP, url: 'https://h/other' }))).not.toBe(pinIdentityOf(at(HTTP)))
    expect(pinIdentityOf(at({ ...STDIO, args: [] }))).not.toBe(pinIdentityOf(at(STDIO)))
    expect(pinIdentityOf(at(STDIO, 'b'))).not.toBe(pinIdentityOf(at(STDIO)))
    expect(pinIdentityOf(at(HTTP))).not.toContain('secret')
  })
})
