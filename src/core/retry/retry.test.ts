import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideRetry, type Failed, RetryBudget, safetyOf } from './index.js'

const FAILED: Failed = {
  phase: 'never-sent',
  safety: 'unsafe',
  cure: 'none',
  transient: true,
  attempts: 1,
  cures: 0,
  repeats: 0,
  streamed: false,
  retryAfterMs: null,
  leftMs: 60_000,
}
const retries = (part: Partial<Failed>) => decideRetry({ ...FAILED, ...part }, 0.5).kind === 'retry'

describe('a request that failed', () => {
  test('goes again when it never left, three times in all', () => {
    expect([1, 2, 3].map(attempts => retries({ attempts }))).toEqual([true, true, false])
  })

  test('goes again once when a new session or a pause cures the refusal', () => {
    expect(retries({ phase: 'rejected' })).toBe(false)
    expect(retries({ phase: 'rejected', cure: 'new-session' })).toBe(true)
    expect(retries({ phase: 'rejected', cure: 'later', retryAfterMs: 2_000 })).toBe(true)
    expect(retries({ phase: 'rejected', cure: 'later', retryAfterMs: 60_000 })).toBe(false)
    expect(retries({ phase: 'rejected', cure: 'new-session', cures: 1, attempts: 2 })).toBe(false)
  })

  test('of unknown outcome goes again once, when a second run is harmless and nothing was shown yet', () => {
    for (const safety of ['harmless', 'idempotent'] as const) {
      expect(retries({ phase: 'unknown', safety })).toBe(true)
      expect(retries({ phase: 'unknown', safety, streamed: true })).toBe(false)
      expect(retries({ phase: 'unknown', safety, repeats: 1, attempts: 2 })).toBe(false)
    }
  })

  test('of unknown outcome never goes again when it may have had an effect, whatever else is so', () => {
    const any = fc.record<Failed>({
      phase: fc.constant('unknown'),
      safety: fc.constant('unsafe'),
      cure: fc.constantFrom('none', 'new-session', 'later'),
      transient: fc.boolean(),
      attempts: fc.integer({ min: 1, max: 5 }),
      cures: fc.nat(3),
      repeats: fc.nat(3),
      streamed: fc.boolean(),
      retryAfterMs: fc.option(fc.nat(10_000)),
      leftMs: fc.nat(100_000),
    })
    fc.assert(
      fc.property(any, failed => {
        expect(decideRetry(failed, 0.5)).toEqual({ kind: 'give-up' })
      }),
    )
  })

  test('is given up where a second try cannot help or comes too late', () => {
    expect(retries({ transient: false })).toBe(false)
    expect(retries({ leftMs: 10 })).toBe(false)
    expect(retries({ retryAfterMs: 70_000 })).toBe(false)
  })
})

describe('whether a second run is harmless', () => {
  const facts = { method: 'tools/call', continues: false, named: false, trusted: false, hints: null }

  test('is so for reads and lists, and never for a continuation', () => {
    for (const method of ['tools/list', 'resources/read', 'prompts/get', 'completion/complete', 'ping'])
      expect(safetyOf({ ...facts, method })).toBe('harmless')
    expect(safetyOf({ ...facts, method: 'resources/read', continues: true })).toBe('unsafe')
    expect(safetyOf({ ...facts, method: 'tasks/update' })).toBe('unsafe')
  })

  test('of a tool is never believed of an untrusted server, nor guessed', () => {
    expect(safetyOf({ ...facts, hints: { readOnly: true } })).toBe('unsafe')
    expect(safetyOf({ ...facts, trusted: true })).toBe('unsafe')
    expect(safetyOf({ ...facts, named: true })).toBe('idempotent')
    expect(safetyOf({ ...facts, trusted: true, hints: { readOnly: true } })).toBe('idempotent')
    expect(safetyOf({ ...facts, trusted: true, hints: { idempotent: true, destructive: true } })).toBe(
      'idempotent',
    )
  })

  test('fails closed on hints that contradict each other or are no booleans', () => {
    for (const hints of [
      { readOnly: true, destructive: true },
      { readOnly: true, idempotent: false },
      { readOnly: 'true' },
      { idempotent: 1 },
      {},
    ])
      expect(safetyOf({ ...facts, trusted: true, hints })).toBe('unsafe')
  })
})

test('a budget lets a fifth of what is under way be retried, and always three', () => {
  const budget = new RetryBudget()
  expect([1, 1, 1, 1].map(active => budget.take(active))).toEqual([true, true, true, false])
  budget.give()
  expect(budget.take(1)).toBe(true)
  expect(budget.take(20)).toBe(true)
  expect(budget.take(20)).toBe(false)
  for (let i = 0; i < 10; i += 1) budget.give()
  expect(budget.retrying).toBe(0)
})
