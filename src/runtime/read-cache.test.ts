import { describe, expect, test } from 'vitest'
import { verifies } from '../../test/kit/verifies.js'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import { type Call, EMPTY_OBJECT, LIMITS, type Outcome } from '../model/index.js'
import { json, objectAt } from '../wire/index.js'
import { ReadCache } from './read-cache.js'

function read(principal = 'ann', more: object = {}): Call {
  const params = objectAt(json({ uri: 'x://1', ...more }))
  return {
    method: 'resources/read',
    params,
    context: { principal, scope: { kind: 'all' }, era: 'modern', capabilities: EMPTY_OBJECT },
  }
}

function answer(result: object, era: 'modern' | 'legacy' = 'modern'): Outcome {
  return { kind: 'answered', reply: { result: json(result) }, era, upstream: 'a' }
}

const FRESH = { resultType: 'complete', contents: [], ttlMs: 60_000, cacheScope: 'private' }

function resultOf(outcome: Outcome | null): Record<string, unknown> | null {
  if (outcome?.kind !== 'answered' || !('result' in outcome.reply)) return null
  return JSON.parse(Buffer.from(outcome.reply.result).toString())
}

function world(maxTtlMs = 300_000) {
  const clock = virtualClock()
  return { clock, cache: new ReadCache(clock, maxTtlMs) }
}

describe('the contents of a resource', () => {
  test('are kept for as long as the server says, and told with what is left of it', async () => {
    const { clock, cache } = world()
    cache.keep(read(), 'x://1', answer(FRESH), cache.age)
    await clock.pass(59_999)
    expect(resultOf(cache.find(read(), 'x://1'))).toEqual({ ...FRESH, ttlMs: 1 })
    await clock.pass(1)
    expect(cache.find(read(), 'x://1')).toBeNull()
    expect(cache.bytes).toBe(0)
  })

  test('are kept no longer than the configuration has it', async () => {
    const { clock, cache } = world(1_000)
    cache.keep(read(), 'x://1', answer(FRESH), cache.age)
    await clock.pass(1_000)
    expect(cache.find(read(), 'x://1')).toBeNull()
    const off = world(0).cache
    off.keep(read(), 'x://1', answer(FRESH), off.age)
    expect(off.find(read(), 'x://1')).toBeNull()
  })

  test('are shown to nobody else where they are private, and to all where they are public', () => {
    const { cache } = world()
    cache.keep(read('ann'), 'x://1', answer(FRESH), cache.age)
    expect(cache.find(read('bob'), 'x://1')).toBeNull()
    expect(cache.find(read('ann'), 'x://1')).not.toBeNull()
    cache.keep(read('ann'), 'x://2', answer({ ...FRESH, cacheScope: 'public' }), cache.age)
    expect(cache.find(read('bob'), 'x://2')).not.toBeNull()
  })

  verifies(
    ['D58', 'P9'],
    'are not kept where they are the end of a conversation, no end at all, or an error',
    () => {
      const { cache } = world()
      const kept = (call: Call, outcome: Outcome) => {
        cache.keep(call, 'x://1', outcome, cache.age)
        return cache.find(read(), 'x://1')
      }
      expect(kept(read('ann', { requestState: 's' }), answer(FRESH))).toBeNull()
      expect(kept(read('ann', { inputResponses: {} }), answer(FRESH))).toBeNull()
      expect(kept(read(), answer({ ...FRESH, resultType: 'input_required' }))).toBeNull()
      expect(kept(read(), { ...answer({}), reply: { error: json({ code: 1 }) } } as Outcome)).toBeNull()
      expect(kept({ ...read(), method: 'tools/call' }, answer(FRESH))).toBeNull()
      for (const ttlMs of [0, -1, 'x', undefined])
        expect(kept(read(), answer({ ...FRESH, ttlMs }))).toBeNull()
      expect(kept(read(), answer(FRESH, 'legacy'))).toBeNull()
      cache.keep(read(), 'x://1', answer(FRESH), cache.age)
      expect(cache.find(read('ann', { requestState: 's' }), 'x://1')).toBeNull()
    },
  )

  test('that changed while they were read are not kept', () => {
    const { cache } = world()
    const askedAt = cache.age
    cache.clear()
    cache.keep(read(), 'x://1', answer(FRESH), askedAt)
    expect(cache.find(read(), 'x://1')).toBeNull()
  })

  test('are bounded: one by LIMITS.keptReadBytes, all by LIMITS.keptReadsBytes, the least used go first', () => {
    const { cache } = world()
    const text = 'x'.repeat(LIMITS.keptReadBytes - 1_000)
    cache.keep(read(), 'big', answer({ ...FRESH, text: text.repeat(2) }), cache.age)
    expect(cache.bytes).toBe(0)
    const room = Math.floor(LIMITS.keptReadsBytes / LIMITS.keptReadBytes)
    for (let i = 0; i <= room; i += 1) {
      cache.keep(read(), `x://${i}`, answer({ ...FRESH, text }), cache.age)
      cache.find(read(), 'x://0')
    }
    expect(cache.bytes).toBeLessThanOrEqual(LIMITS.keptReadsBytes)
    expect(cache.find(read(), 'x://0')).not.toBeNull()
    expect(cache.find(read(), 'x://1')).toBeNull()
    cache.clear()
    expect(cache.bytes).toBe(0)
  })
})
