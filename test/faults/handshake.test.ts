import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { descendantsOf, isAlive } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { expectWithin } from '../kit/slowness.js'
import { faultRow, type Variant } from './harness.js'

const SLOW_MS = 1_200
const HANDSHAKE = { legacy: 'initialize', modern: 'server/discover' } as const

// These rows wait most of their time, and do so side by side.
describe.concurrent('a server that cannot start', () => {
  faultRow(
    'F05',
    'because it never answers the handshake is given up after its time, and delays nobody',
    {
      script: { faults: Object.values(HANDSHAKE).map(on => ({ on, do: { kind: 'hang' } })) },
      holdfast: { startTimeout: '700ms' },
      fromStart: true,
    },
    async row => {
      await row.inject()
      const tried = performance.now()
      const calls = row.everybody('echo')
      for (const client of row.clients) {
        const { ms } = await client.request('tools/list').answer
        await expectWithin(ms, 2_000)
      }
      for (const { answer } of calls) {
        expect((await answer).failure).toMatchObject({ kind: 'unavailable', upstream: 'victim' })
        expect(performance.now() - tried).toBeLessThan(5_000)
      }
      await row.tells(/no answer in 0.7 s/)
      const { state, health } = await row.status()
      expect(['backoff', 'starting']).toContain(state)
      expect(health).toBe('unhealthy')
      const started = row.victim.records.pids
      if (row.variant.transport === 'stdio') expect(started.filter(isAlive).length).toBeLessThan(2)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F05',
    'because its program swallows everything is given up after its time, and killed',
    {
      transports: ['stdio'],
      eras: ['legacy'],
      entry: ({ entry }) => ({ command: swallowUntilTold(entry), args: [] }),
      holdfast: { startTimeout: '700ms' },
      fromStart: true,
    },
    async row => {
      await row.inject()
      await row.tells(/no answer in 0.7 s/)
      expect(descendantsOf(row.gateway.pid).length).toBeLessThan(3)
      await row.lift(() => writeFileSync(`${row.victim.entry.args?.[1]}.told`, ''))
    },
  )

  faultRow(
    'F06',
    'at once answers late: the calls that waited for it succeed',
    { script: slowHandshake, holdfast: { lazy: true }, fromStart: true, unseen: true },
    async row => {
      await row.inject()
      const calls = row.everybody('echo', { n: 1 })
      for (const { answer } of calls) {
        const { failure, ms } = await answer
        expect(failure).toBe(null)
        expect(ms).toBeGreaterThan(SLOW_MS - 50)
      }
      await row.lift()
    },
  )

  faultRow(
    'F06',
    'at once takes its time to come up: whatever its era, the calls that waited for it succeed',
    {
      transports: ['stdio'],
      script: { faults: [{ on: 'start', do: { kind: 'delay', ms: 2_800 } }] },
      holdfast: { startTimeout: '20s', era: 'auto' },
      fromStart: true,
      unseen: true,
    },
    async row => {
      await row.inject()
      for (const { failure } of await row.answers('echo', { n: 1 })) expect(failure).toBe(null)
      expect(row.victim.records.spawns).toBe(1)
      await row.lift()
    },
  )
})

function slowHandshake({ era }: Variant) {
  return { faults: [{ on: HANDSHAKE[era], do: { kind: 'delay', ms: SLOW_MS } as const }] }
}

/** `cat > /dev/null` with its stdout kept open, until a file appears beside the fake's script. */
function swallowUntilTold({
  command,
  args = [],
}: {
  readonly command?: string
  readonly args?: readonly string[]
}) {
  const path = join(freshFolder('programs'), 'swallow')
  const words = [command ?? '', ...args].map(word => `'${word}'`).join(' ')
  writeFileSync(
    path,
    `#!/bin/sh\nexec 3>&1\n[ -e '${args[1]}.told' ] || exec cat > /dev/null\nexec 3>&-\nexec ${words}\n`,
  )
  chmodSync(path, 0o755)
  return path
}
