import { describe, expect, test } from 'vitest'
import { SessionTable } from './index.js'

const table = (max: number, busy = new Set<string>()) =>
  new SessionTable<string>(max, 1_000, value => busy.has(value))

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

  test('that is in use does not grow old', () => {
    const sessions = table(10, new Set(['a']))
    sessions.add('1', 'a', 0)
    expect(sessions.sweep(1_000_000)).toEqual([])
    expect(sessions.use('1', 1_000_000)).toBe('a')
  })

  test('makes room by ending the one that was unused for longest, never one in use', () => {
    const busy = new Set(['b'])
    const sessions = table(2, busy)
    sessions.add('1', 'a', 0)
    sessions.add('2', 'b', 1)
    sessions.use('1', 5)
    expect(sessions.add('3', 'c', 6)).toEqual(['a'])
    busy.add('c')
    expect(sessions.add('4', 'd', 7)).toBeNull()
    expect(sessions.values()).toEqual(['b', 'c'])
  })

  test('that ended is gone at once', () => {
    const sessions = table(2)
    sessions.add('1', 'a', 0)
    expect(sessions.remove('1')).toBe('a')
    expect(sessions.use('1', 0)).toBeUndefined()
  })
})
