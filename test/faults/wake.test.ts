import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect } from 'vitest'
import { callTool, failureOf, missingIn, withClient } from '../acceptance/shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import { freeze, thaw } from '../kit/processes.js'
import { verifies } from '../kit/verifies.js'
import { type Tunnel, tunnel } from './upstream-shared.js'

/** Longer than the gateway keeps an idle connection. */
const ASLEEP_MS = 5_000
const NAMES = ['child', 'old', 'new', 'older'] as const

const wires: Tunnel[] = []
afterEach(() => {
  for (const wire of wires.splice(0)) wire.close()
})

describe('a machine that slept, and wakes in another network', () => {
  verifies(
    ['L150'],
    'uses no connection of before, condemns nobody, and serves everybody within seconds',
    () =>
      withFakes(
        [
          { transport: 'stdio', script: { builtins: ['echo'] } },
          { transport: 'http', script: { builtins: ['echo'] } },
          { transport: 'http', script: { eras: 'modern', builtins: ['echo'] } },
          { transport: 'sse', script: { builtins: ['echo'] } },
        ],
        async (child, ...remotes) => {
          const holdfast = {
            requestTimeout: '1s',
            health: { interval: '1s', timeout: '500ms', failures: 3 },
            restart: { max: 2 },
          }
          const entries = [{ ...child.entry, holdfast }]
          for (const fake of remotes) {
            const wire = await tunnel(fake.url ?? '')
            wires.push(wire)
            const url = new URL(fake.url ?? '')
            url.port = new URL(wire.url).port
            entries.push({ ...fake.entry, url: url.href, holdfast })
          }
          const mcpServers = Object.fromEntries(entries.map((entry, at) => [NAMES[at], entry]))
          await withClient(mcpServers, async (client, gateway) => {
            const listed = (await client.listTools()).tools
            for (const name of NAMES)
              expect(failureOf(await callTool(client, `${name}__echo`)), name).toEqual({})
            const pid = (await gateway.upstream('child')).pid
            const before = wires.map(({ sockets }) => [...sockets])
            await freeze(gateway.pid)
            for (const wire of wires) {
              wire.swallow()
              wire.heal()
            }
            await delay(ASLEEP_MS)
            await thaw(gateway.pid)
            // Only a lasting stream has to be found dead first.
            for (const name of ['child', 'old', 'new'])
              expect(failureOf(await callTool(client, `${name}__echo`)), name).toEqual({})
            const older = async () => failureOf(await callTool(client, 'older__echo'))
            await expect.poll(older, { timeout: 40_000 }).toEqual({})
            expect(missingIn(await client.listTools())).toEqual([])
            expect((await client.listTools()).tools).toEqual(listed)
            const { upstreams } = await gateway.waitFor(status =>
              status.upstreams.every(({ health }) => health === 'healthy'),
            )
            expect(upstreams.map(({ state, breaker }) => [state, breaker])).toEqual(
              NAMES.map(() => ['ready', 'closed']),
            )
            expect(upstreams[0]).toMatchObject({ pid, restarts: 0 })
            // The streams on which two of them tell news are not idle, and nothing tells that they are dead.
            const left = wires.map(({ sockets }, at) => before[at]?.filter(each => sockets.has(each)).length)
            expect(left).toEqual([1, 1, 0])
            for (const fake of [child, ...remotes])
              expect(fake.records.runs('echo')).toBeGreaterThanOrEqual(2)
          })
        },
      ),
    90_000,
  )
})
