import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import type { UpstreamStatus } from './status.js'
import { type Transition, TransitionFeed } from './transitions.js'

const FIGURES = { state: 'none', tools: 0, resources: 0, resourceTemplates: 0, prompts: 0 }
const status = (part: Partial<UpstreamStatus>, figures = {}): UpstreamStatus =>
  ({
    name: 'a',
    state: 'starting',
    health: 'unknown',
    breaker: 'closed',
    reason: null,
    catalog: { ...FIGURES, failed: {}, shadowed: [], refreshedAt: null, ...figures },
    ...part,
  }) as unknown as UpstreamStatus

const UP = { state: 'ready', health: 'healthy' } as const
const DOWN = { state: 'backoff', health: 'unhealthy', reason: 'exited with code 1' } as const
const AGAIN = { state: 'starting', health: 'unhealthy', reason: 'starting again' } as const

function feed() {
  const time = manualHost()
  const it = new TransitionFeed(time.host.clock)
  const told: Transition[] = []
  it.prime(status({}))
  const leave = it.listen(transition => void told.push(transition))
  const edges = () => told.splice(0).map(({ change, from, to }) => `${change} ${from}>${to}`)
  return { it, time, told, edges, leave }
}

describe('transitions', () => {
  test('come once each, with number, time, both sides and the reason', () => {
    const { it, told } = feed()
    it.observe(status(DOWN))
    it.observe(status(DOWN))
    expect(told).toEqual([
      {
        id: 1,
        at: '1970-01-01T00:00:01.000Z',
        upstream: 'a',
        change: 'state',
        from: 'starting',
        to: 'backoff',
        reason: 'exited with code 1',
      },
      {
        id: 2,
        at: '1970-01-01T00:00:01.000Z',
        upstream: 'a',
        change: 'health',
        from: 'unknown',
        to: 'unhealthy',
        reason: 'exited with code 1',
      },
    ])
  })

  test('of health are not repeated by tries that fail again', () => {
    const { it, edges } = feed()
    it.observe(status(DOWN))
    edges()
    for (let i = 0; i < 3; i += 1) {
      it.observe(status(AGAIN))
      it.observe(status(DOWN))
    }
    expect(edges().filter(edge => edge.startsWith('health'))).toEqual([])
  })

  test('of a recovery say how long the outage was, from its first failure on', () => {
    const { it, time, told } = feed()
    it.observe(status(UP))
    it.observe(status(DOWN))
    time.advance(3_000)
    it.observe(status(AGAIN))
    it.observe(status(DOWN))
    time.advance(1_500)
    // A restart by hand forgets the failures, and health with them.
    it.observe(status({ state: 'starting', health: 'unknown' }))
    time.advance(500)
    told.length = 0
    it.observe(status(UP))
    expect(told.map(({ change, to, outageMs }) => [change, to, outageMs])).toEqual([
      ['state', 'ready', 5_000],
      ['health', 'healthy', 5_000],
    ])
  })

  test('of a first start and of a server that was switched off and on are no recovery', () => {
    const { it, told } = feed()
    it.observe(status(UP))
    it.observe(status(DOWN))
    it.observe(status({ state: 'disabled' }))
    it.observe(status({ state: 'starting' }))
    it.observe(status(UP))
    expect(told.filter(transition => transition.outageMs !== undefined)).toEqual([])
  })

  test('of a connection that stands while its breaker is open count the outage, too', () => {
    const { it, time, told } = feed()
    it.observe(status(UP))
    it.observe(status({ ...UP, health: 'unhealthy', breaker: 'open', reason: 'HTTP 500 from POST /mcp' }))
    time.advance(2_000)
    it.observe(
      status({ ...UP, health: 'unhealthy', breaker: 'half_open', reason: 'HTTP 500 from POST /mcp' }),
    )
    it.observe(status(UP))
    expect(told.slice(2).map(({ change, from, to, outageMs }) => [change, from, to, outageMs])).toEqual([
      ['health', 'healthy', 'unhealthy', undefined],
      ['breaker', 'closed', 'open', undefined],
      ['breaker', 'open', 'half_open', undefined],
      ['health', 'unhealthy', 'healthy', 2_000],
      ['breaker', 'half_open', 'closed', undefined],
    ])
  })

  test('of lists have the figures of both sides', () => {
    const { it, told } = feed()
    it.observe(status({}, { state: 'live', tools: 3, refreshedAt: 'then' }))
    it.observe(status({}, { state: 'live', tools: 3, refreshedAt: 'later' }))
    expect(told).toHaveLength(1)
    expect(told[0]).toMatchObject({
      change: 'catalog',
      from: FIGURES,
      to: { ...FIGURES, state: 'live', tools: 3 },
    })
  })

  test('tell of servers that come and go', () => {
    const { it, told } = feed()
    it.observe(status({ name: 'b' }))
    it.forget('a')
    it.forget('a')
    expect(told.map(({ upstream, change, from, to }) => [upstream, change, from, to]).at(0)).toEqual([
      'b',
      'state',
      null,
      'starting',
    ])
    expect(told.at(-1)).toMatchObject({ upstream: 'a', change: 'state', from: 'starting', to: null })
    expect(told.filter(transition => transition.upstream === 'a')).toHaveLength(1)
  })

  test('stop for a listener that left', () => {
    const { it, told, leave } = feed()
    leave()
    it.observe(status(DOWN))
    expect(told).toEqual([])
    expect(it.lastId).toBe(2)
  })
})
