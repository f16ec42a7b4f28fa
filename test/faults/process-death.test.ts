import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { Fake, ServerEntry } from '../kit/fake-mcp.js'
import { descendantsOf, isAlive, killHard } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'
import { until } from '../kit/until.js'
import { expectGone, faultRow } from './harness.js'

const STDIO = { transports: ['stdio'] } as const

describe('a server process that dies', () => {
  faultRow(
    'F01',
    'by kill -9 in mid-call: the call is outcome unknown, and the next one works',
    STDIO,
    async row => {
      const pid = await row.pid()
      const calls = await row.held()
      const killed = performance.now()
      await row.inject(() => killHard(pid))
      for (const { answer } of calls) {
        const { failure, said } = await answer
        expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
        expect(said).toMatch(/killed by SIGKILL.*may or may not have run/)
      }
      await expectWithin(performance.now() - killed, 1_000)
      await row.lift()
      await until('a new process', async () => (await row.status()).pid !== pid)
      await row.answers('echo')
      expect((await row.status()).restarts).toBe(1)
      expect(row.victim.records.runs('hold')).toBe(2)
      await row.shows(/killed by SIGKILL/)
    },
  )

  faultRow(
    'F01',
    'by kill -9 while it reads a resource: the read is repeated on the new process',
    {
      ...STDIO,
      script: {
        resources: [{ uri: 'demo://thing/1', text: 'the thing' }],
        faults: [{ on: 'resources/read', spawns: 1, do: { kind: 'hang' } }],
      },
    },
    async row => {
      const pid = await row.pid()
      const { text } = await row.clients[0].request('resources/list').answer
      const [, uri] = /"uri":"([^"]+)"/.exec(text) ?? []
      const reads = row.clients.map(client => client.request('resources/read', { uri }))
      await row.victim.records.waitFor(records => records.count('resources/read') === 2)
      await row.inject(() => killHard(pid))
      for (const { answer } of reads) expect((await answer).text).toContain('the thing')
      await row.lift()
      await row.shows(/killed by SIGKILL/)
    },
  )

  faultRow(
    'F02',
    'with exit code 0 while idle: restarted, and its tools never leave the list',
    STDIO,
    async row => {
      const pid = await row.pid()
      const names = await row.clients[0].tools()
      await row.inject(() => row.victim.quit({ code: 0 }))
      for (let tries = 0; isAlive(pid) || tries < 10; tries++) {
        expect(await row.clients[0].tools()).toEqual(names)
        await delay(10)
      }
      await row.lift()
      await row.victim.records.waitFor(({ spawns }) => spawns === 2)
      await row.shows(/exited with code 0/)
    },
  )
})

/** A launcher that only waits, while the server itself has its pipes. */
function launched({ entry }: Fake): ServerEntry {
  const script = 'exec 3<&0; "$0" "$@" <&3 & exec sleep 600'
  return { command: 'sh', args: ['-c', script, entry.command ?? '', ...(entry.args ?? [])] }
}

describe('the processes of a server', () => {
  faultRow(
    'F15',
    'are all ended when the launcher dies and the server still holds the pipes',
    { ...STDIO, entry: launched, processes: 2 },
    async row => {
      const launcher = await row.pid()
      const [server = 0] = row.victim.records.pids
      expect(server).not.toBe(launcher)
      const calls = await row.held()
      await row.inject(() => killHard(launcher))
      for (const { answer } of calls) expect((await answer).failure?.kind).toBe('outcome_unknown')
      await expectGone([server], 500)
      await row.lift()
      await row.shows(/killed by SIGKILL/)
    },
  )

  faultRow(
    'F15',
    'are all ended when the server dies and its child still holds the pipes',
    { ...STDIO, script: { grandchild: true }, processes: 2 },
    async row => {
      const pid = await row.pid()
      const { grandchild = 0 } = row.victim.records.ofKind('grandchild')[0] ?? {}
      expect(isAlive(grandchild)).toBe(true)
      const calls = await row.held()
      await row.inject(() => killHard(pid))
      for (const { answer } of calls) expect((await answer).failure?.kind).toBe('outcome_unknown')
      await expectGone([grandchild], 500)
      await row.lift()
      await row.shows(/killed by SIGKILL/)
    },
  )

  faultRow(
    'F15',
    'are all ended when the gateway stops, the launcher included that outlives its server',
    { ...STDIO, eras: ['legacy'], entry: launched, processes: 2, unseen: true },
    async row => {
      const tree = descendantsOf(row.gateway.pid)
      expect(tree.length).toBe(3)
      await row.inject()
      expect(await row.end('SIGTERM')).toMatchObject({ code: 0 })
      await expectGone(tree, 100)
    },
  )

  faultRow(
    'F16',
    'see the end of their stdin when the gateway is killed with -9, and go',
    { ...STDIO, unseen: true },
    async row => {
      const tree = descendantsOf(row.gateway.pid)
      expect(tree.length).toBe(2)
      await row.inject()
      await row.end('SIGKILL')
      await expectGone(tree)
      expect(row.victim.records.ofKind('stdin-end').length).toBe(1)
    },
  )
})
