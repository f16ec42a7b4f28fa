import { describe, expect, test } from 'vitest'
import { failedWith, lost, OK, SPEC, world } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { GatewayError } from '../model/index.js'
import type { Connection } from './ports.js'

describe('health checks', () => {
  test('ask a quiet server once an interval, and a busy one never', async () => {
    const { supervisor, clock, asked, opened } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    await clock.pass(100_000)
    expect(asked.filter(method => method === 'ping')).toHaveLength(3)
    const connection = supervisor.connection as Connection
    for (let i = 0; i < 10; i += 1) {
      await clock.pass(10_000)
      supervisor.record(OK, connection)
    }
    expect(asked.filter(method => method === 'ping')).toHaveLength(3)
    expect(opened).toHaveLength(1)
  })

  test('make a remote unhealthy at the third failure, and well again at the first answer', async () => {
    const { supervisor, clock, behaviour, opened } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    behaviour.answer = () => failedWith('HTTP 500 from POST /mcp')
    await clock.pass(29_000)
    expect(supervisor.view().health).toBe('healthy')
    await clock.pass(6_000)
    expect(supervisor.view()).toMatchObject({
      state: 'ready',
      health: 'unhealthy',
      reason: 'HTTP 500 from POST /mcp',
    })
    behaviour.answer = () => OK
    await clock.pass(5_000)
    expect(supervisor.view()).toMatchObject({ health: 'healthy', reason: null, breaker: 'closed' })
    expect(opened).toHaveLength(1)
  })

  test('end a program that does not answer three of them, and start it anew', async () => {
    const { supervisor, clock, behaviour, opened } = world('stdio', () => OK, {
      supervision: { ...SPEC.supervision, health: { intervalMs: 60_000, timeoutMs: 5_000, failures: 3 } },
    })
    supervisor.boot()
    await clock.pass(0)
    behaviour.answer = ({ method }) => (method === 'ping' ? null : OK)
    await clock.pass(90_000)
    expect(opened[0]).toMatchObject({ destroyed: true })
    expect(supervisor.connection?.pid).toBe(2)
    expect(supervisor.view().lastError?.message).toContain('hung: 3 health checks')
  })

  test('of an open breaker that began while the server hung do not keep it out once it is back', async () => {
    const { supervisor, clock, behaviour } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    const connection = supervisor.connection as Connection
    // Slow for long enough to be given more time.
    behaviour.answer = request => {
      clock.after(12_000, () => request.settle(OK))
      return null
    }
    await clock.pass(300_000)
    behaviour.answer = () => null
    for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('hung'), connection)
    expect(supervisor.view().breaker).toBe('open')
    await clock.pass(1_100)
    expect(supervisor.view().breaker).toBe('half_open')
    behaviour.answer = () => OK
    expect(supervisor.watch.demand()).toBeNull()
    await clock.pass(5_000)
    const again = supervisor.watch.demand()
    await clock.pass(1)
    expect(await again).toBe(true)
    expect(supervisor.view().breaker).toBe('closed')
    await clock.pass(30_000)
    expect(supervisor.view()).toMatchObject({ breaker: 'closed', reason: null })
  })

  test('take a late answer for slowness, not for death', async () => {
    const { supervisor, clock, behaviour } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    behaviour.answer = request => {
      clock.after(12_000, () => request.settle(OK))
      return null
    }
    await clock.pass(300_000)
    expect(supervisor.view()).toMatchObject({ state: 'ready', health: 'degraded', breaker: 'closed' })
    behaviour.answer = () => OK
    await clock.pass(100_000)
    expect(supervisor.view().health).toBe('healthy')
  })

  verifies(['H95'], 'never overrule a wanted sign-in, and never hammer its server', async () => {
    const { supervisor, clock, behaviour, asked, opened } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    const error = new GatewayError('SIGN_IN_REQUIRED', 'x', { reason: 'HTTP 401', phase: 'rejected' })
    supervisor.record({ kind: 'rejected', error }, supervisor.connection as Connection)
    expect(supervisor.view()).toMatchObject({ state: 'auth_required', reason: 'HTTP 401' })
    const before = asked.length
    await clock.pass(3_600_000)
    expect(supervisor.demand()).toBe(false)
    expect(supervisor.view().state).toBe('auth_required')
    expect([asked.length, opened.length]).toEqual([before, 1])
    behaviour.answer = () => OK
    await supervisor.restart()
    await clock.pass(0)
    expect(supervisor.view().state).toBe('ready')
  })
})

describe('the breaker', () => {
  test('opens at the fifth failure in a row; one trial at a time closes it, shared by all who wait', async () => {
    const { supervisor, clock, behaviour, asked } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    const connection = supervisor.connection as Connection
    behaviour.answer = () => null
    for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('reset'), connection)
    expect(supervisor.view()).toMatchObject({ state: 'ready', breaker: 'open', health: 'unhealthy' })
    expect(supervisor.view().nextAttemptAt).toBeGreaterThan(0)
    expect(supervisor.watch.demand()).toBeNull()
    await clock.pass(1_000)
    expect(supervisor.view().breaker).toBe('half_open')
    expect(supervisor.watch.demand()).toBeNull()
    behaviour.answer = () => OK
    await clock.pass(12_000)
    expect(supervisor.view()).toMatchObject({ breaker: 'closed', health: 'healthy' })
    expect(asked.filter(method => method === 'tools/list').length).toBeGreaterThan(1)
  })

  test('lets a call shorten the wait after five seconds, never within what the server asked for', async () => {
    const { supervisor, clock, behaviour } = world('http', () => OK)
    supervisor.boot()
    await clock.pass(0)
    const connection = supervisor.connection as Connection
    behaviour.answer = () => failedWith('still down')
    for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('down'), connection)
    await clock.pass(120_000)
    behaviour.answer = () => OK
    while (supervisor.view().breaker !== 'open') await clock.pass(100)
    const throttled = lost('HTTP 503').with({ retryAfterMs: 30_000 })
    supervisor.record({ kind: 'unknown', error: throttled }, connection)
    await clock.pass(6_000)
    expect(supervisor.watch.demand()).toBeNull()
  })
})

describe('calls from before an outage', () => {
  /** Behind an open breaker, with a trial under way that is not answered. */
  async function onTrial() {
    const made = world('http', () => OK)
    made.supervisor.boot()
    await made.clock.pass(0)
    const connection = made.supervisor.connection as Connection
    made.behaviour.answer = () => null
    for (let i = 0; i < 5; i += 1) made.supervisor.record(failedWith('reset'), connection)
    await made.clock.pass(1_000)
    expect(made.supervisor.view().breaker).toBe('half_open')
    return { ...made, connection }
  }

  test('do not decide the trial by their end', async () => {
    const { supervisor, clock, behaviour, connection } = await onTrial()
    supervisor.record(failedWith('no sign of life'), connection)
    expect(supervisor.view()).toMatchObject({ breaker: 'half_open', reason: 'reset' })
    behaviour.answer = () => OK
    await clock.pass(6_000)
    expect(supervisor.view().breaker).toBe('closed')
  })

  test('do not open the breaker again once the server is back', async () => {
    const { supervisor, clock, behaviour, connection } = await onTrial()
    const sentAt = clock.now()
    behaviour.answer = () => OK
    await clock.pass(6_000)
    expect(supervisor.view().breaker).toBe('closed')
    for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('no sign of life'), connection, sentAt)
    expect(supervisor.view().breaker).toBe('closed')
    for (let i = 0; i < 5; i += 1) supervisor.record(failedWith('reset'), connection, clock.now())
    expect(supervisor.view().breaker).toBe('open')
  })
})

describe('a person', () => {
  test('disables a server, whose connection ends, and enables it again', async () => {
    const { supervisor, clock, opened } = world('stdio', () => OK)
    supervisor.boot()
    await clock.pass(0)
    await supervisor.disable()
    expect(supervisor.view()).toMatchObject({ state: 'disabled', nextAttemptAt: null })
    expect(opened[0]?.closed).toBe(true)
    expect(supervisor.demand()).toBe(false)
    supervisor.enable()
    await clock.pass(0)
    expect(supervisor.view().state).toBe('ready')
  })

  test('brings a server out of quarantine', async () => {
    const { supervisor, clock, behaviour } = world('stdio', () => OK)
    behaviour.open = () => lost('exited with code 1')
    supervisor.boot()
    await clock.pass(60_000)
    expect(supervisor.view()).toMatchObject({ state: 'quarantined', reason: 'exited with code 1' })
    behaviour.open = () => null
    await supervisor.restart()
    await clock.pass(0)
    expect(supervisor.view().state).toBe('ready')
  })
})

test('a server that nobody uses is stopped after its idle time, keeps its catalog, and is started by the next demand', async () => {
  const { supervisor, clock, opened } = world('stdio', () => OK, {
    lazy: true,
    supervision: { ...SPEC.supervision, idleStopMs: 600_000 },
  })
  supervisor.demand()
  await clock.pass(0)
  expect(supervisor.view().state).toBe('ready')
  await clock.pass(300_000)
  supervisor.record(OK, supervisor.connection as Connection)
  await clock.pass(599_000)
  expect(supervisor.view().state).toBe('ready')
  await clock.pass(2_000)
  expect(supervisor.view()).toMatchObject({ state: 'idle', catalog: { tools: { state: 'stale' } } })
  expect(opened[0]?.closed).toBe(true)
  supervisor.demand()
  await clock.pass(0)
  expect(supervisor.view().state).toBe('ready')
})

test('tries in one outage are one phase: since when it is down stays told', async () => {
  const { supervisor, clock, behaviour, opened } = world('http', () => OK)
  supervisor.boot()
  await clock.pass(100_000)
  behaviour.open = () => lost('connection refused')
  opened[0]?.events.closed(lost('reset'))
  await clock.pass(30_000)
  expect(supervisor.view()).toMatchObject({ since: 100_000, health: 'unhealthy' })
  expect(supervisor.view().attempts).toBeGreaterThan(3)
})
