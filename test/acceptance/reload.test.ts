import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/index.js'
import { withFakes } from '../kit/fake-mcp.js'
import { runCommand, withGateway } from '../kit/gateway.js'
import { isAlive } from '../kit/processes.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { CRASHING, options } from './shared.js'

const STDIO = { transport: 'stdio', script: { builtins: ['echo', 'sleep'] } } as const

type Servers = Readonly<Record<string, unknown>>

async function withLibrary(mcpServers: Servers, use: (gateway: Gateway) => Promise<void>): Promise<void> {
  const gateway = await createGateway({ mcpServers })
  try {
    await gateway.settled()
    await use(gateway)
  } finally {
    await gateway.close()
  }
}

const pidOf = (gateway: Gateway, name: string) => gateway.upstream(name).status().pid
const changed = (entry: { readonly env?: unknown }) => ({
  ...entry,
  env: { ...(entry.env as Record<string, string> | undefined), CHANGED: '1' },
})

describe('a reload', () => {
  verifies(['M151', 'M156'], 'touches only what changed, and what left is really gone', async () => {
    await withFakes([STDIO, STDIO, STDIO, STDIO], async (a, b, c, d) => {
      await withLibrary({ a: a.entry, b: b.entry, c: c.entry }, async gateway => {
        const [pidA, pidB, pidC] = ['a', 'b', 'c'].map(name => pidOf(gateway, name) ?? 0)
        const result = await gateway.reload({
          mcpServers: { a: a.entry, c: changed(c.entry), d: d.entry },
        })
        expect(result).toMatchObject({
          ok: true,
          generation: 2,
          added: ['d'],
          removed: ['b'],
          updated: ['c'],
          unchanged: ['a'],
          errors: [],
        })
        expect(pidOf(gateway, 'a')).toBe(pidA)
        expect(pidOf(gateway, 'c')).not.toBe(pidC)
        expect(gateway.status().upstreams.map(({ name }) => name)).toEqual(['a', 'c', 'd'])
        await until('both are gone', () => !isAlive(pidB ?? 0) && !isAlive(pidC ?? 0))
        await expect(gateway.callTool('b__echo', { text: 'x' })).rejects.toMatchObject({
          code: 'UPSTREAM_REMOVED',
          message: expect.stringContaining('removed from the configuration'),
        })
        expect(await gateway.callTool('c__echo', { text: 'x' })).toBeTruthy()
        await gateway.settled()
        expect(await gateway.callTool('d__echo', { text: 'x' })).toBeTruthy()
      })
    })
  })

  verifies(
    ['M152', 'M163', 'M165'],
    'with any faulty entry changes nothing, and a later good one is taken',
    async () => {
      await withFakes([STDIO], async a => {
        await withLibrary({ a: a.entry }, async gateway => {
          const pid = pidOf(gateway, 'a')
          const bad = await gateway.reload({
            mcpServers: {
              b: { command: 'x', env: { KEY: '${NOT_SET_ANYWHERE}' } },
              c: { command: 'x', url: 'http://127.0.0.1:1/' },
            },
          })
          expect(bad).toMatchObject({ ok: false, generation: 1, added: [], removed: [], unchanged: ['a'] })
          expect(bad.errors.join('\n')).toMatch(
            /mcpServers\.b\.env\.KEY.*NOT_SET_ANYWHERE[\s\S]*mcpServers\.c/,
          )
          expect(gateway.status().gateway.config.lastError?.message).toContain('NOT_SET_ANYWHERE')
          expect(pidOf(gateway, 'a')).toBe(pid)
          expect(
            await gateway.reload({ mcpServers: { a: options(a.entry, { prefix: 'z' }) } }),
          ).toMatchObject({
            ok: true,
            generation: 2,
            updated: ['a'],
          })
          expect(gateway.status().gateway.config.lastError).toBeNull()
          expect(pidOf(gateway, 'a')).toBe(pid)
          expect(await gateway.callTool('z__echo', { text: 'x' })).toBeTruthy()
        })
      })
    },
  )

  verifies(['M157'], 'keeps the old version where the new one does not start', async () => {
    await withFakes([STDIO], async a => {
      await withLibrary({ a: a.entry }, async gateway => {
        const pid = pidOf(gateway, 'a')
        const result = await gateway.reload({ mcpServers: { a: CRASHING } })
        expect(result).toMatchObject({ ok: false, errors: [expect.stringMatching(/^a: its new version/)] })
        expect(pidOf(gateway, 'a')).toBe(pid)
        expect(await gateway.callTool('a__echo', { text: 'x' })).toBeTruthy()
      })
    })
  })

  verifies(
    ['M156', 'M158'],
    'lets a call under way finish on the old one, and does not wait for it',
    async () => {
      await withFakes([STDIO], async a => {
        await withLibrary({ a: a.entry }, async gateway => {
          const pid = pidOf(gateway, 'a') ?? 0
          const slow = gateway.callTool('a__sleep', { ms: 1_500 })
          await gateway.reload({ mcpServers: { a: changed(a.entry) } })
          expect(isAlive(pid)).toBe(true)
          expect(await slow).toBeTruthy()
          await until('it is gone', () => !isAlive(pid))
        })
      })
    },
  )

  verifies(['M155'], 'never makes a server that stays unknown, and no call fails', async () => {
    await withFakes([STDIO, STDIO], async (a, b) => {
      await withLibrary({ a: a.entry, b: b.entry }, async gateway => {
        const pid = pidOf(gateway, 'a')
        const failures: unknown[] = []
        const calls: Promise<unknown>[] = []
        for (let round = 0; round < 100; round += 1) {
          for (let at = 0; at < 10; at += 1) {
            const call = gateway.callTool(`${at % 2 ? 'a' : 'b'}__echo`, { text: `${round} ${at}` })
            calls.push(call.catch(error => failures.push(error)))
          }
          // Every tenth is a new version, the others are changed in place.
          const env = { ...b.entry.env, ROUND: String(Math.floor(round / 10)) }
          const requestTimeout = `${round + 10}s`
          const result = await gateway.reload({
            mcpServers: { a: a.entry, b: options({ ...b.entry, env }, { requestTimeout }) },
          })
          expect(result).toMatchObject({
            ok: true,
            generation: round + 2,
            updated: ['b'],
            unchanged: ['a'],
          })
        }
        await Promise.all(calls)
        expect(calls).toHaveLength(1_000)
        expect(failures).toEqual([])
        expect(pidOf(gateway, 'a')).toBe(pid)
      })
    })
  })

  verifies(['M159'], 'comes one at a time: of a hundred at once the last one wins', async () => {
    await withFakes([STDIO], async a => {
      await withLibrary({ a: a.entry }, async gateway => {
        const off = { command: 'never-started', holdfast: { enabled: false } }
        const results = await Promise.all(
          Array.from({ length: 100 }, (_, round) =>
            gateway.reload({ mcpServers: { a: a.entry, [`s${round}`]: off } }),
          ),
        )
        expect(gateway.status().upstreams.map(({ name }) => name)).toEqual(['a', 's99'])
        expect(results.every(({ ok }) => ok)).toBe(true)
        expect(gateway.status().gateway.config.generation).toBe(3)
      })
    })
  })

  const inBothPlaces = [
    (entry: Servers, wish: Servers) => ({ mcpServers: { a: { ...entry, holdfast: wish } } }),
    (entry: Servers, defaults: Servers) => ({ mcpServers: { a: entry }, holdfast: { defaults } }),
  ]

  test('ends an exclusive server before its new version starts', async () => {
    for (const configOf of inBothPlaces) {
      await withFakes([STDIO], async a => {
        const wish = { exclusive: true }
        const gateway = await createGateway(configOf({ ...a.entry }, wish))
        try {
          await gateway.settled()
          const pid = pidOf(gateway, 'a') ?? 0
          const slow = gateway.callTool('a__sleep', { ms: 300 })
          await gateway.reload(configOf({ ...a.entry, ...changed(a.entry) }, wish))
          expect(isAlive(pid)).toBe(true)
          const next = gateway.callTool('a__echo', { text: 'x' })
          expect(pidOf(gateway, 'a')).toBeNull()
          expect(await slow).toBeTruthy()
          expect(await next).toBeTruthy()
          expect(pidOf(gateway, 'a')).not.toBe(pid)
          expect(isAlive(pid)).toBe(false)
        } finally {
          await gateway.close()
        }
      })
    }
  })

  test('replaces the old version where that is wanted', async () => {
    for (const configOf of inBothPlaces) {
      await withFakes([STDIO], async a => {
        const gateway = await createGateway(configOf({ ...a.entry }, { onUpdateFailure: 'replace' }))
        try {
          await gateway.settled()
          const result = await gateway.reload(configOf(CRASHING, { onUpdateFailure: 'replace' }))
          expect(result).toMatchObject({ ok: true, updated: ['a'] })
          await expect(gateway.callTool('a__echo', { text: 'x' })).rejects.toMatchObject({
            code: 'UPSTREAM_UNAVAILABLE',
          })
        } finally {
          await gateway.close()
        }
      })
    }
  })

  verifies(['M161'], 'of the same values changes nothing', async () => {
    await withFakes([STDIO], async a => {
      await withLibrary({ a: a.entry }, async gateway => {
        expect(await gateway.reload({ mcpServers: { a: options(a.entry, { prefix: 'a' }) } })).toMatchObject({
          ok: true,
          generation: 1,
          unchanged: ['a'],
        })
      })
    })
  })
})

describe('a config file that changes', () => {
  verifies(['M162', 'F61'], 'is taken over once it is good again', async () => {
    await withFakes([STDIO, STDIO], async (a, b) => {
      await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
        const { pid } = await gateway.waitForState('a', 'ready')
        writeFileSync(gateway.configFile, '{"mcpServers":{"a":')
        await gateway.waitFor(({ gateway: { config } }) => config.lastError != null)
        expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', pid })
        writeFileSync(gateway.configFile, JSON.stringify({ mcpServers: { a: a.entry, b: b.entry } }))
        await gateway.waitFor(({ upstreams }) => upstreams.some(({ name }) => name === 'b'))
        expect(await gateway.upstream('a')).toMatchObject({ pid })
      })
    })
  })

  test('is read again by "holdfast reload", which can say before what would change', async () => {
    await withFakes([STDIO], async a => {
      await withGateway(
        { mcpServers: { a: a.entry } },
        async gateway => {
          writeFileSync(gateway.configFile, JSON.stringify({ mcpServers: {} }))
          const run = (...args: string[]) =>
            runCommand(['reload', '--url', gateway.origin, '--json', ...args])
          expect(JSON.parse((await run('--dry-run')).stdout)).toMatchObject({ removed: ['a'], generation: 1 })
          expect((await gateway.status()).upstreams).toHaveLength(1)
          expect(JSON.parse((await run()).stdout)).toMatchObject({ removed: ['a'], generation: 2 })
          expect((await gateway.status()).upstreams).toHaveLength(0)
        },
        { args: ['--no-watch'] },
      )
    })
  })
})
