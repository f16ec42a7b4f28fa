import { expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import { LIMITS } from '../model/index.js'
import { retryAfterMs } from './retry-after.js'

const NOW = Date.UTC(2026, 0, 31, 12, 0, 0)
const LEAST = LIMITS.retryAfterMinMs
const MOST = LIMITS.retryAfterMaxMs

verifies(['J120'], 'Retry-After is read in every form, clamped, and nonsense is nothing', () => {
  const rows: [string | undefined, number | undefined][] = [
    ['2', 2_000],
    [' 30 ', 30_000],
    ['0', LEAST],
    ['3000000', MOST],
    ['9'.repeat(400), MOST],
    ['Sat, 31 Jan 2026 12:00:07 GMT', 7_000],
    ['Saturday, 31-Jan-26 12:00:07 GMT', 7_000],
    ['Sat Jan 31 12:00:07 2026', 7_000],
    ['Sat, 31 Jan 2026 11:00:00 GMT', LEAST],
    ['Fri, 31 Dec 2077 23:59:59 GMT', MOST],
    ['-1', undefined],
    ['1.5', undefined],
    ['3e9', undefined],
    ['soon', undefined],
    ['2026-01-31', undefined],
    ['Sat, 99 Foo 2026 99:99:99 GMT', undefined],
    ['', undefined],
    [undefined, undefined],
  ]
  for (const [text, wanted] of rows)
    expect(retryAfterMs({ 'retry-after': text }, NOW), String(text)).toBe(wanted)
})

test("Retry-After as a date counts from the server's own clock, and from ours where it tells none", () => {
  const date = { 'retry-after': 'Sat, 31 Jan 2026 12:01:00 GMT' }
  expect(retryAfterMs(date, NOW)).toBe(60_000)
  expect(retryAfterMs(date, NOW + 50_000)).toBe(10_000)
  const told = { ...date, date: 'Sat, 31 Jan 2026 12:00:20 GMT' }
  for (const day of [-1, 0, 1]) expect(retryAfterMs(told, NOW + day * 86_400_000)).toBe(40_000)
  expect(retryAfterMs({ ...date, date: 'yesterday' }, NOW)).toBe(60_000)
})
