import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { verifies } from '../../test/kit/verifies.js'
import type { StopFailure } from './gateway.js'
import { Shutdown } from './shutdown.js'

const TIMEOUT_MS = 30_000

/** A gateway whose parts end when the test says so; what happens is written down in order. */
function setUp() {
  const time = manualHost()
  const log: string[] = []
  const ends = new Map<string, () => void>()
  const until = (name: string) => new Promise<void>(resolve => ends.set(name, resolve))
  let failures: readonly StopFailure[] = []
  let running = true
  const shutdown = new Shutdown({
    clock: time.host.clock,
    timeoutMs: TIMEOUT_MS,
    runtime: {
      drained: ms => {
        if (!running) return Promise.resolve()
        log.push(`drain ${ms}`)
        return Promise.race([until('drained'), new Promise<void>(late => time.host.clock.after(ms, late))])
      },
      stop: async () => {
        log.push('stop servers')
        running = false
        await until('stopped')
        return failures
      },
      kill: () => {
        running = false
        log.push('kill servers')
      },
    },
    closeDoor: () => {
      log.push('close door')
      return until('flushed')
    },
    endFaces: () => log.push('end faces'),
    dropConnections: () => log.push('drop connections'),
    release: async () => {
      log.push('release')
    },
    warn: (upstream, message) => log.push(`warn ${upstream}: ${message}`),
  })
  const turn = () => new Promise(resolve => setImmediate(resolve))
  return {
    shutdown,
    log,
    turn,
    advance: async (ms: number) => {
      time.advance(ms)
      await turn()
    },
    end: async (name: string) => {
      ends.get(name)?.()
      await turn()
    },
    failWith: (found: readonly StopFailure[]) => {
      failures = found
    },
    timers: () => time.timers,
  }
}

const ORDER = ['close door', 'drain 24000', 'stop servers', 'end faces', 'drop connections', 'release']

describe('the order of a stop', () => {
  verifies(
    ['R194', 'R202'],
    'is the same whether calls end or their time does, and leaves no timer',
    async () => {
      for (const calls of ['end', 'run out of time'] as const) {
        const { shutdown, log, turn, advance, end, timers } = setUp()
        const closing = shutdown.close()
        await turn()
        expect(log).toEqual(ORDER.slice(0, 2))
        if (calls === 'end') await end('drained')
        else await advance(24_000)
        expect(log).toEqual(ORDER.slice(0, 4))
        await end('stopped')
        expect(log).toEqual(ORDER.slice(0, 4))
        await end('flushed')
        await closing
        expect(log).toEqual(ORDER)
        if (calls === 'run out of time') expect(timers()).toBe(0)
      }
    },
  )

  test('waits for answers to leave only for so long', async () => {
    const { shutdown, log, advance, end } = setUp()
    const closing = shutdown.close()
    await end('drained')
    await end('stopped')
    await advance(5_000)
    await closing
    expect(log).toEqual(ORDER)
  })

  test('breaks off the ladder when the time is over', async () => {
    const { shutdown, log, advance } = setUp()
    const closing = shutdown.close()
    await advance(24_000)
    await advance(6_000)
    await advance(250)
    await closing
    expect(log).toEqual([
      ...ORDER.slice(0, 4),
      'warn null: The stop took longer than 30000 ms; what was left is ended at once.',
      'kill servers',
      'end faces',
      'drop connections',
      'release',
    ])
  })

  verifies(['R197'], 'goes on past servers that could not be ended, and names them', async () => {
    const { shutdown, log, end, failWith } = setUp()
    failWith([{ upstream: 'stuck', reason: 'its process group 7 is still there after SIGKILL' }])
    const closing = shutdown.close()
    await end('drained')
    await end('stopped')
    await end('flushed')
    await closing
    expect(log).toEqual([
      ...ORDER.slice(0, 4),
      'warn stuck: It could not be stopped: its process group 7 is still there after SIGKILL',
      ...ORDER.slice(4),
    ])
  })

  verifies(
    ['R200', 'R201'],
    'is left for the quick one at any time, once; closing again waits for the first',
    async () => {
      const { shutdown, log, turn, end } = setUp()
      const first = shutdown.close()
      expect(shutdown.close()).toBe(first)
      await turn()
      const killing = shutdown.kill()
      expect(shutdown.kill()).toBe(killing)
      expect(shutdown.begun).toBe(true)
      await end('flushed')
      await killing
      expect(log).toEqual([...ORDER.slice(0, 2), 'kill servers', 'end faces', 'drop connections', 'release'])
    },
  )
})
