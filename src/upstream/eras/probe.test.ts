import { describe, expect, test } from 'vitest'
import { classifyProbe, type ProbeOutcome, type Verdict } from './probe.js'

const MODERN = '2026-07-28'
const result = (value: unknown): ProbeOutcome => ({ kind: 'result', result: value })
const error = (code: unknown, data?: unknown): ProbeOutcome => ({ kind: 'rpc-error', code, data })

const ROWS: [what: string, outcome: ProbeOutcome, http: Verdict['kind'], stdio: Verdict['kind']][] = [
  ['a result with our version', result({ supportedVersions: [MODERN, '2025-11-25'] }), 'modern', 'modern'],
  ['a result with legacy versions alone', result({ supportedVersions: ['2025-06-18'] }), 'legacy', 'legacy'],
  [
    'a result with versions of the future',
    result({ supportedVersions: ['2031-01-01'] }),
    'disjoint',
    'disjoint',
  ],
  ['a result without versions', result({ tools: [] }), 'legacy', 'legacy'],
  ['a result that is no object', result('ok'), 'legacy', 'legacy'],
  ['-32022 with our version', error(-32022, { supported: [MODERN] }), 'probe-again', 'probe-again'],
  ['-32022 with legacy versions', error(-32022, { supported: ['2025-11-25'] }), 'legacy', 'legacy'],
  ['-32022 with other versions', error(-32022, { supported: ['2031-01-01'] }), 'disjoint', 'disjoint'],
  ['-32022 without a list', error(-32022), 'legacy', 'legacy'],
  ['-32020', error(-32020), 'legacy', 'legacy'],
  ['-32021', error(-32021), 'legacy', 'legacy'],
  ['-32601', error(-32601), 'legacy', 'legacy'],
  ['-32602', error(-32602), 'legacy', 'legacy'],
  ['-32000', error(-32000), 'legacy', 'legacy'],
  ['an error whose code is a string', error('invalid_request'), 'legacy', 'legacy'],
  ['400 without JSON-RPC', { kind: 'status', status: 400 }, 'legacy', 'legacy'],
  ['404', { kind: 'status', status: 404 }, 'legacy', 'legacy'],
  ['405', { kind: 'status', status: 405 }, 'legacy', 'legacy'],
  ['401', { kind: 'status', status: 401 }, 'auth', 'auth'],
  ['403', { kind: 'status', status: 403 }, 'auth', 'auth'],
  ['408', { kind: 'status', status: 408 }, 'outage', 'outage'],
  ['429', { kind: 'status', status: 429 }, 'outage', 'outage'],
  ['500', { kind: 'status', status: 500 }, 'outage', 'outage'],
  ['503', { kind: 'status', status: 503 }, 'outage', 'outage'],
  ['a web page', { kind: 'not-mcp' }, 'legacy', 'legacy'],
  ['silence', { kind: 'silence' }, 'outage', 'legacy'],
  ['the end of the process', { kind: 'exit' }, 'outage', 'legacy-respawn'],
  ['no connection', { kind: 'unreachable' }, 'outage', 'outage'],
]

describe('the answer to server/discover', () => {
  test.each(ROWS)('%s is judged', (_what, outcome, http, stdio) => {
    expect(classifyProbe(outcome, 'http').kind).toBe(http)
    expect(classifyProbe(outcome, 'stdio').kind).toBe(stdio)
  })
})
