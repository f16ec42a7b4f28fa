import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../model/index.js'
import { SessionTable, type Use } from './index.js'

const HOUR = 60 * 60_000

/** Sessions are named `owner` or `owner/n`; those of `local` have no owner. */
function table(max: number, uses = new Map<string, Use>(), maxPerOwner = 3) {
  return new SessionTable<string>({
    max,
    maxPerOwner,
    idleMs: 1_000,
    maxAgeMs: HOUR,
    useOf: value => uses.get(value) ?? 'idle',
    ownerOf: value => (value.includes('/') ? (value.split('/')[0] ?? null) : null),
  })
}

describe('a session', () => {
  test('is known until it was idle for too long', () => {
    const sessions = table(10)
    sessions.add('1', 'a', 0)
    expect(sessions.use('1', 900)).toBe('a')
    expect(sessions.use('1', 1_899)).toBe('a')
    expect(sessions.use('1', 2_899)).toBeUndefined()
  })

  test('that grew old is handed over once, to be ended, also after somebody asked for it', () => {
    const sessions = table(10)
    sessions.add('1', 'a', 0)
    expect(sessions.use('1', 5_000)).toBeUndefined()
    expect(sessions.sweep(5_000)).toEqual(['a'])
    expect(sessions.sweep(5_000)).toEqual([])
    expect(sessions.size).toBe(0)
  })

  test('that listens or works does not grow idle', () => {
    for (const use of ['listening', 'working'] as const) {
      const sessions = table(10, new Map([['a', use]]))
      sessions.add('1', 'a', 0)
      expect(sessions.sweep(HOUR - 1)).toEqual([])
      expect(sessions.use('1', HOUR - 1)).toBe('a')
    }
  })

  test('has an end that use does not put off, but never in the middle of a request', () => {
    const uses = new Map<string, Use>([['a', 'listening']])
    const sessions = table(10, uses)
    sessions.add('1', 'a', 0)
    uses.set('a', 'working')
    expect(sessions.use('1', HOUR)).toBe('a')
    uses.set('a', 'listening')
    expect(sessions.use('1', HOUR)).toBeUndefined()
    expect(sessions.sweep(HOUR)).toEqual(['a'])
  })

  test('may be swept sooner where memory is short', () => {
    const sessions = table(10)
    sessions.add('1', 'a', 0)
    sessions.add('2', 'b', 60)
    expect(sessions.sweep(100, 50)).toEqual(['a'])
  })

  test('that ended is gone at once', () => {
    const sessions = table(2)
    sessions.add('1', 'a', 0)
    expect(sessions.remove('1')).toBe('a')
    expect(sessions.remove('1')).toBeUndefined()
    expect(sessions.use('1', 0)).toBeUndefined()
  })
})

describe('a full table', () => {
  test('makes room by ending the one that was unused for longest, never one in use', () => {
    const uses = new Map<string, Use>([['b', 'working']])
    const sessions = table(2, uses)
    sessions.add('1', 'a', 0)
    sessions.add('2', 'b', 1)
    sessions.use('1', 5)
    expect(sessions.add('3', 'c', 6)).toEqual(['a'])
    uses.set('c', 'listening')
    expect(sessions.add('4', 'd', 7)).toBe('all')
    expect(sessions.values()).toEqual(['b', 'c'])
  })

  test('lets each owner have so many and no more, at the cost of that owner alone', () => {
    const uses = new Map<string, Use>()
    const sessions = table(100, uses)
    sessions.add('x', 'b/1', 0)
    for (const n of [1, 2, 3]) sessions.add(`a${n}`, `a/${n}`, n)
    sessions.use('a1', 10)
    expect(sessions.add('a4', 'a/4', 11)).toEqual(['a/2'])
    for (const n of [1, 3, 4]) uses.set(`a/${n}`, 'listening')
    expect(sessions.add('a5', 'a/5', 12)).toBe('owner')
    sessions.remove('a1')
    expect(sessions.add('a5', 'a/5', 13)).toEqual([])
    expect(sessions.values()).toContain('b/1')
  })

  test('counts those without an owner only against the whole', () => {
    const sessions = table(100)
    for (let n = 0; n < 50; n += 1) expect(sessions.add(`${n}`, `local${n}`, n)).toEqual([])
    expect(sessions.size).toBe(50)
  })
})

test('the bounds of the gateway are what they are said to be', () => {
  const hours = LIMITS.sessionMaxAgeMs / HOUR
  expect([LIMITS.sessions, LIMITS.sessionsPerPrincipal, hours]).toEqual([10_000, 100, 24])
})
