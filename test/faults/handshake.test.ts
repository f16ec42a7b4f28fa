import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { descendantsOf, isAlive } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { faultRow, type Variant } from './harness.js'

const HANDSHAKE = { legacy: 'initialize', modern: 'server/discover' } as const

describe('a server that cannot start', () => {
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
        expect(ms).toBeLessThan(1_000)
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
    { script: slowHandshake, fromStart: true, unseen: true },
    async row => {
      await row.inject()
      const calls = row.everybody('echo', { n: 1 })
      expect((await row.status()).state).toBe('starting')
      for (const { answer } of calls) {
        const { failure, ms } = await answer
        expect(failure).toBe(null)
        expect(ms).toBeGreaterThan(300)
      }
      await row.lift()
    },
  )
})

function slowHandshake({ era }: Variant) {
  return { faults: [{ on: HANDSHAKE[era], do: { kind: 'delay', ms: 1_200 } as const }] }
}

/** `cat > /dev/null`, until a file appears beside the fake's script. */
function swallowUntilTold({
  command,
  args = [],
}: {
  readonly command?: string
  readonly args?: readonly string[]
}) {
  const path = join(freshFolder('programs'), 'swallow')
  const words = [command ?? '', ...args].map(word => `'${word}'`).join(' ')
  writeFileSync(path, `#!/bin/sh\n[ -e '${args[1]}.told' ] || { cat > /dev/null; exit 0; }\nexec ${words}\n`)
  chmodSync(path, 0o755)
  return path
}
