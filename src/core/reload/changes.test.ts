import { expect, test } from 'vitest'
import { SPEC } from '../../../test/kit/runtime-world.js'
import type { UpstreamSpec } from '../../model/index.js'
import { changesIn } from './changes.js'
import { type Entry, planReload } from './plan.js'

const spec = (part: Partial<UpstreamSpec>): UpstreamSpec => ({ ...SPEC, ...part })
const stdio = (part: object) => ({ kind: 'stdio', command: 'x', args: [], env: {}, ...part }) as const
const between = (before: readonly Entry[], after: readonly Entry[]) =>
  changesIn(planReload(before, after), before, after)
const optionsOf = (before: Entry, after: Entry) => between([before], [after])[0]?.options

test('a plan is told in the words of a config', () => {
  const { timeouts, supervision } = SPEC
  const after = spec({
    prefix: 'p',
    timeouts: { ...timeouts, request: 5, list: 7, listTotal: 21 },
    supervision: { ...supervision, idleStopMs: 60_000, health: { ...supervision.health, intervalMs: 1 } },
    cacheTtlMs: 0,
    tools: { deny: ['x'] },
  })
  expect(optionsOf(spec({}), after)).toEqual([
    { option: 'cacheTtl', before: '300000', after: '0' },
    { option: 'prefix', before: '"a"', after: '"p"' },
    { option: 'health.interval', before: '30000', after: '1' },
    { option: 'idleStop', before: 'null', after: '60000' },
    { option: 'listTimeout', before: '1', after: '7' },
    { option: 'requestTimeout', before: '60000', after: '5' },
    { option: 'tools.deny', before: 'none', after: '["x"]' },
  ])
})

test('of how a server is reached only the names are told, for any of it may be a secret', () => {
  const before = spec({ transport: stdio({ args: ['s3cret'], env: { A: 's3cret', B: '1' } }) })
  const after = spec({
    transport: stdio({ args: ['t0ken'], env: { A: 't0ken', B: '1', C: 't0ken' }, cwd: '/t0ken' }),
  })
  expect(optionsOf(before, after)).toEqual(['args', 'cwd', 'env.A', 'env.C'].map(option => ({ option })))
  const http = spec({ transport: { kind: 'http', url: 'http://t0ken/', headers: { 'x-key': 't0ken' } } })
  const changes = between([before], [http])
  expect(changes).toMatchObject([{ server: 'a', how: 'restarted' }])
  expect(changes[0]?.options.map(({ option }) => option)).toContain('type')
  expect(JSON.stringify(changes)).not.toMatch(/s3cret|t0ken/)
})

test('entries that come, go, or were faulty are told as such', () => {
  const faulty: Entry = { name: 'b', prefix: 'b', problem: 'holds s3cret' }
  const sound = spec({ name: 'b' })
  expect(between([spec({}), faulty], [sound, spec({ name: 'c' })])).toEqual([
    {
      server: 'b',
      how: 'restarted',
      options: [{ option: 'entry', before: 'misconfigured', after: 'configured' }],
    },
    { server: 'c', how: 'added', options: [] },
    { server: 'a', how: 'removed', options: [] },
  ])
  expect(between([sound], [structuredClone(sound)])).toEqual([])
})
