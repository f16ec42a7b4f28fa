import { expect } from 'vitest'
import type { Gateway } from '../../src/index.js'
import { type FakeOptions, type Script, withFakes } from '../kit/fake-mcp.js'
import { until } from '../kit/until.js'
import { type Bench, bothWays, type Proof } from './proof.js'

const ECHO: FakeOptions = { transport: 'stdio', script: { builtins: ['echo'] } }
const CRASHING: FakeOptions = {
  transport: 'stdio',
  script: { faults: [{ on: 'start', do: { kind: 'crash', code: 4 } }] },
}
const stateOf = (gateway: Gateway) => gateway.upstream('a').status().state

/** The server gets one call at a time: the second one waits here. */
function oneAtATime(options: Record<string, unknown>): Proof['prove'] {
  const script: Script = {
    builtins: [],
    tools: [{ name: 'hold', steps: [{ wait: 'gate' }], result: '{"content":[]}' }],
  }
  return ({ serve }) =>
    withFakes([{ script }], async fake => {
      const gateway = await serve(fake.entry, options)
      await gateway.settled()
      const calls = [gateway.callTool('a__hold'), gateway.callTool('a__hold')]
      await until('one waits', () => gateway.upstream('a').status().queued === 1)
      const arrived = await fake.records.waitFor(records => records.callsOf('hold').length)
      expect(arrived).toBe(1)
      await fake.release('gate', 2)
      await Promise.all(calls)
    })
}

/** A call that was lost with the process is made again. */
function madeAgain(options: Record<string, unknown>, descriptor: Record<string, unknown>): Proof['prove'] {
  const script: Script = {
    builtins: [],
    tools: [{ name: 'get', descriptor, result: '{"content":[]}' }],
    faults: [{ on: 'tools/call', spawns: 1, before: false, do: { kind: 'crash' } }],
  }
  return ({ serve }) =>
    withFakes([{ transport: 'stdio', script }], async fake => {
      const gateway = await serve(fake.entry, options)
      await gateway.settled()
      expect(await gateway.callTool('a__get')).toMatchObject({ content: [] })
      expect(fake.records.callsOf('get')).toHaveLength(2)
    })
}

/** How many checks had failed when the server was called unhealthy. */
async function checksUntilUnhealthy({ serve }: Bench, failures: number): Promise<number> {
  const failing: Script = { builtins: [], faults: [{ on: 'ping', do: { kind: 'http', status: 500 } }] }
  return withFakes([{ script: failing }], async fake => {
    const gateway = await serve(fake.entry, { health: { interval: '100ms', timeout: '2s', failures } })
    let seen = 0
    gateway.on('upstream', () => {
      if (seen === 0 && gateway.upstream('a').status().health === 'unhealthy')
        seen = fake.records.count('ping')
    })
    await gateway.settled()
    await until('it is unhealthy', () => seen > 0)
    return seen
  })
}

export const SUPERVISION_PROOFS: readonly Proof[] = [
  bothWays('lazy', 'leaves the start to the first use', ({ serve }) =>
    withFakes([ECHO], async fake => {
      const gateway = await serve(fake.entry, { lazy: true })
      await gateway.settled()
      expect([stateOf(gateway), fake.records.spawns]).toEqual(['idle', 0])
      await gateway.callTool('a__echo')
      expect(fake.records.spawns).toBe(1)
    }),
  ),
  bothWays('idleStop', 'stops a server that nobody uses', ({ serve }) =>
    withFakes([ECHO], async fake => {
      const gateway = await serve(fake.entry, { idleStop: '300ms' })
      await gateway.settled()
      await until('it is stopped', () => stateOf(gateway) === 'idle')
      expect(fake.records.spawns).toBe(1)
    }),
  ),
  {
    keys: ['server.holdfast.wake'],
    does: 'leaves a remote asleep that only a call may wake',
    prove: ({ serve }) =>
      withFakes([{ script: { builtins: ['echo'] } }], async fake => {
        const gateway = await serve(fake.entry, { wake: true })
        await gateway.settled()
        expect(gateway.upstream('a').status().reason).toMatch(/^asleep/)
        expect(fake.records.ofKind('http')).toEqual([])
        await gateway.callTool('a__echo')
        expect(fake.records.runs('echo')).toBe(1)
      }),
  },
  bothWays('health.interval', 'is the time between checks', ({ serve }) =>
    withFakes([{ script: { builtins: ['echo'] } }], async fake => {
      const gateway = await serve(fake.entry, { health: { interval: '100ms' } })
      await gateway.settled()
      await fake.records.waitFor(records => records.count('ping') >= 3)
    }),
  ),
  bothWays('health.timeout', 'ends the wait for a check', ({ serve }) =>
    withFakes(
      [{ script: { builtins: ['echo'], faults: [{ on: 'ping', do: { kind: 'hang' } }] } }],
      async fake => {
        const gateway = await serve(fake.entry, {
          health: { interval: '100ms', timeout: '300ms', failures: 1 },
        })
        const unhealthy = () => gateway.upstream('a').status().health === 'unhealthy'
        await gateway.settled()
        await until('it is unhealthy', unhealthy)
        expect(gateway.upstream('a').status().reason).toMatch(/0\.3 s|300 ms/)
      },
    ),
  ),
  bothWays('health.failures', 'is how many failed checks make it unhealthy', async bench => {
    expect(await checksUntilUnhealthy(bench, 1)).toBeLessThan(3)
  }),
  bothWays('restart.max', 'is how many unexpected ends lead to quarantine', ({ serve }) =>
    withFakes([CRASHING], async fake => {
      const gateway = await serve(fake.entry, { restart: { max: 2 } })
      await gateway.settled()
      await until('it is in quarantine', () => stateOf(gateway) === 'quarantined')
      expect(fake.records.spawns).toBeLessThan(5)
    }),
  ),
  bothWays('restart.window', 'forgets ends that are longer ago', ({ serve }) =>
    withFakes([CRASHING], async fake => {
      const gateway = await serve(fake.entry, { restart: { max: 2, window: '1ms' } })
      const seen = new Set<string>()
      gateway.on('upstream', () => seen.add(stateOf(gateway)))
      await gateway.settled()
      await until('it is tried again', () => gateway.upstream('a').status().attempts >= 4, 20_000)
      expect(seen).not.toContain('quarantined')
    }),
  ),
  bothWays('maxInFlight', 'bounds the calls that it gets at a time', oneAtATime({ maxInFlight: 1 })),
  {
    keys: ['server.holdfast.serial'],
    does: 'gives it one call at a time',
    prove: oneAtATime({ serial: true }),
  },
  {
    keys: ['server.holdfast.idempotent'],
    does: 'lets a lost call of such a tool be made again',
    prove: madeAgain({ idempotent: ['ge*'] }, {}),
  },
  {
    keys: ['server.holdfast.trusted'],
    does: 'lets a lost call be made again where the server says that this is safe',
    prove: madeAgain({ trusted: true }, { annotations: { readOnlyHint: true } }),
  },
]
