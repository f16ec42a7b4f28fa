import { describe, expect } from 'vitest'
import { type Script, withFakes } from '../kit/fake-mcp.js'
import { waitForExit } from '../kit/processes.js'
import { verifies } from '../kit/verifies.js'
import { callTool, missingIn, options, withClient } from './shared.js'

describe('a lazy program', () => {
  verifies(['L149'], 'is stopped when idle, stays listed, and is started by the next call', async () => {
    await withFakes([{ transport: 'stdio', script: {} }], async fake => {
      const entry = options(fake.entry, { lazy: true, idleStop: '600ms' })
      await withClient({ a: entry }, async (client, gateway) => {
        expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
        const pid = (await gateway.upstream('a')).pid ?? 0
        const long = await callTool(client, 'a__sleep', { ms: 1_200 })
        expect(long.content[0]?.text).toBe('slept 1200 ms')
        expect((await gateway.upstream('a')).pid).toBe(pid)
        await gateway.waitForState('a', 'idle')
        await waitForExit(pid)
        const listed = await client.listTools()
        expect(listed.tools.map(({ name }) => name)).toContain('a__echo')
        expect(missingIn(listed)).toEqual([])
        expect(await gateway.upstream('a')).toMatchObject({ state: 'idle', health: 'unknown' })
        expect((await callTool(client, 'a__echo', { n: 2 })).structuredContent).toEqual({ n: 2 })
        expect(fake.records.pids.at(-1)).not.toBe(pid)
      })
    })
  })
})

describe('a remote that scales to zero', () => {
  const entryOf = (entry: Parameters<typeof options>[0]) =>
    options(entry, { wake: true, idleStop: '500ms', health: { interval: '100ms' } })

  verifies(['L146'], 'is left asleep by checks, lists and time', async () => {
    await withFakes([{ script: {} }], async fake => {
      await withClient({ a: entryOf(fake.entry) }, async (client, gateway) => {
        await callTool(client, 'a__echo')
        await gateway.waitForState('a', 'idle')
        const { length } = fake.records.ofKind('request')
        for (let i = 0; i < 10; i += 1) {
          expect((await client.listTools()).tools.length).toBeGreaterThan(0)
          await gateway.status()
        }
        const { reason, health } = await gateway.upstream('a')
        expect([reason, health]).toEqual(['asleep: the next call wakes it', 'unknown'])
        expect(fake.records.ofKind('request')).toHaveLength(length)
      })
    })
  })

  verifies(['L147', 'L148'], 'is woken once by many calls, which wait out its errors', async () => {
    const script: Script = {
      faults: [{ on: 'POST', calls: { to: 3 }, do: { kind: 'http', status: 503 } }],
    }
    await withFakes([{ script }], async fake => {
      await withClient({ a: entryOf(fake.entry) }, async (client, gateway) => {
        const calls = Array.from({ length: 20 }, (_, n) => callTool(client, 'a__echo', { n }))
        const answers = await Promise.all(calls)
        expect(answers.map(({ structuredContent }) => structuredContent)).toEqual(
          Array.from({ length: 20 }, (_, n) => ({ n })),
        )
        expect(fake.records.count('initialize')).toBeLessThanOrEqual(4)
        expect(fake.records.runs('echo')).toBe(20)
        expect((await gateway.upstream('a')).state).toBe('ready')
      })
    })
  })
})
