import { describe, expect, test } from 'vitest'
import type { UpstreamStatus } from '../control/index.js'
import { renderCard } from './status-card.js'
import { renderTable } from './status-table.js'
import { painter, span } from './terminal.js'

const NOW = Date.parse('2026-01-31T12:00:00.000Z')
const before = (ms: number) => new Date(NOW - ms).toISOString()
const FINDINGS = { shadowed: [], changed: [], held: [], flagged: [] }
const CATALOG = { tools: 0, resources: 0, resourceTemplates: 0, prompts: 0, failed: {}, ...FINDINGS }
const status = (name: string, part: Partial<UpstreamStatus> = {}): UpstreamStatus =>
  ({
    name,
    transport: 'http',
    era: null,
    health: 'unhealthy',
    state: 'backoff',
    since: before(90_000),
    action: 'wait',
    reason: 'connection refused by 127.0.0.1:9',
    lastError: { kind: 'unavailable', message: 'connection refused by 127.0.0.1:9', at: before(1_000) },
    nextAttemptAt: before(-4_000),
    breaker: 'closed',
    pid: null,
    restarts: 0,
    attempts: 3,
    inFlight: 0,
    queued: 0,
    lastOkAt: null,
    catalog: { state: 'none', refreshedAt: null, ...CATALOG },
    ...part,
  }) as UpstreamStatus

const UP = status('files', {
  health: 'healthy',
  state: 'ready',
  reason: null,
  nextAttemptAt: null,
  action: 'none',
  era: 'x',
  catalog: { state: 'live', refreshedAt: before(0), ...CATALOG, tools: 1, prompts: 2 },
})
const plain = painter({ isTTY: false })

describe('the table of servers', () => {
  test('says for how long, why, what comes next and what is to be done', () => {
    const locked = status('locked', {
      state: 'auth_required',
      action: 'sign_in',
      reason: 'it wants a sign-in',
      nextAttemptAt: null,
    })
    const broken = status('remote', { state: 'ready', reason: 'HTTP 500 from POST /mcp', breaker: 'open' })
    const lines = renderTable([UP, status('closed'), locked, broken], plain, { columns: 80, now: NOW })
    expect(lines).toEqual([
      '  SERVER  STATE          FOR   DETAILS',
      '● files   ready          90 s  1 tool, 2 prompts (http, x)',
      '✗ closed  backoff        90 s  connection refused by 127.0.0.1:9; next try in',
      '                               4 s',
      '✗ locked  auth required  90 s  it wants a sign-in',
      '                               → sign in to it',
      '✗ remote  unhealthy      90 s  HTTP 500 from POST /mcp; next try in 4 s',
    ])
  })

  test.each([20, 40, 60, 80, 120])(
    'keeps to %i columns where that is possible, whatever it has to say',
    columns => {
      const long = status('n'.repeat(200), {
        state: 'misconfigured',
        reason: `${'word '.repeat(40)}${'x'.repeat(300)}`,
      })
      const hostile = status('a\x1b[2J\nb', { reason: 'first\nsecond\x1b[31m' })
      for (const now of [undefined, NOW]) {
        const lines = renderTable([long, hostile, UP], plain, {
          columns,
          ...(now === undefined ? {} : { now }),
        })
        expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(Math.max(columns, 56))
        expect(lines.join('')).not.toMatch(/[\x00-\x1f]/)
      }
      const card = renderCard(long, plain, columns, NOW)
      expect(Math.max(...card.slice(1).map(line => line.length))).toBeLessThanOrEqual(Math.max(columns, 40))
    },
  )

  test('has colours on a terminal alone, and never against NO_COLOR', () => {
    const coloured = (isTTY: boolean, env: NodeJS.ProcessEnv) =>
      renderTable([UP], painter({ isTTY }, env), { columns: 80 }).join('').includes('\x1b')
    expect([coloured(true, {}), coloured(true, { NO_COLOR: '1' }), coloured(false, {})]).toEqual([
      true,
      false,
      false,
    ])
  })
})

test.each([
  [-5, '0 s'],
  [1_400, '1 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [7_199_000, '2 h'],
  [3 * 86_400_000, '3 days'],
])('%i ms are %s', (ms, text) => {
  expect(span(ms)).toBe(text)
})
