import { expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { verifies } from '../../test/kit/verifies.js'
import { view } from '../../test/kit/views.js'
import type { Snapshot, UpstreamView } from '../model/index.js'
import { StartProgress } from './start-progress.js'
import { StderrTails } from './stderr-tails.js'

function progress() {
  const time = manualHost()
  const tails = new StderrTails()
  const told: string[] = []
  const it = new StartProgress(
    ({ upstream, message }) => told.push(`${upstream}: ${message}`),
    time.host.clock,
    tails,
  )
  let before: readonly UpstreamView[] = []
  const observe = (...views: UpstreamView[]) => {
    const changed = [...before, ...views].map(({ name }) => name)
    before = views
    it.observe({ upstreams: new Map(views.map(one => [one.name, one])) } as unknown as Snapshot, changed)
  }
  return { it, time, tails, told, observe }
}

const STARTING = { state: 'starting' } as const

verifies(['H100'], 'a start that takes long is told every 30 s, with the last line of this start', () => {
  const { time, tails, told, observe } = progress()
  tails.add('a', 'a line of the start before')
  observe(view('a', STARTING))
  observe(view('a', STARTING))
  time.advance(29_999)
  expect(told).toEqual([])
  time.advance(1)
  tails.add('a', 'downloading')
  time.advance(30_000)
  expect(told).toEqual([
    'a: still starting after 30 s; it has said nothing so far',
    'a: still starting after 60 s; its last line: downloading',
  ])
})

test('a start after a failure names that', () => {
  const { time, told, observe } = progress()
  observe(
    view('a', { ...STARTING, lastError: { kind: 'unavailable', message: 'HTTP 500 from POST /mcp', at: 0 } }),
  )
  time.advance(30_000)
  expect(told).toEqual(['a: still starting after 30 s; nothing since the last try: HTTP 500 from POST /mcp'])
})

test('a start that ended is told no more, and leaves no timer', () => {
  const { time, told, observe, it } = progress()
  observe(view('a', STARTING), view('b', STARTING), view('c', STARTING))
  expect(time.timers).toBe(3)
  observe(view('a', { state: 'ready' }), view('c', STARTING))
  expect(time.timers).toBe(1)
  it.stop()
  expect(time.timers).toBe(0)
  time.advance(60_000)
  expect(told).toEqual([])
})

test('nothing is kept of what a server said that was removed', () => {
  const { tails, observe } = progress()
  observe(view('a'), view('b'))
  for (const name of ['a', 'b']) tails.add(name, 'hello')
  observe(view('b'))
  expect([tails.lines('a'), tails.lines('b')]).toEqual([[], ['hello']])
})
