import { describe, expect } from 'vitest'
import { freeze, waitForExit } from '../kit/processes.js'
import { until } from '../kit/until.js'
import { faultRow } from './harness.js'

const STDIO = { transports: ['stdio'] } as const
const MIB = 1024 * 1024

describe('a server that breaks the rules again and again', () => {
  faultRow(
    'F07',
    'by a thousand lines in a row that are no messages is started anew',
    {
      ...STDIO,
      script: {
        faults: [
          {
            on: 'tools/call',
            tool: 'count',
            spawns: 1,
            do: { kind: 'garbage', text: 'noise', times: 1_100 },
          },
        ],
      },
    },
    async row => {
      const pid = await row.pid()
      await row.inject()
      const { failure } = await row.clients[0].call('victim__count', {}, { mute: true }).answer
      expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
      await waitForExit(pid)
      await row.lift()
      await row.shows(/no messages/)
      // A line of the log for each of them would be a flood of its own.
      expect(row.logLines(/noise/).length).toBeLessThan(20)
    },
  )

  faultRow(
    'F10',
    'by one line of 100 MB fails the call that it was the answer to, as too large',
    {
      ...STDIO,
      script: { faults: [{ on: 'tools/call', tool: 'big', do: { kind: 'flood', bytes: 100 * MIB } }] },
      growth: 96 * MIB,
      unseen: true,
    },
    async row => {
      await row.inject()
      const { failure, ms } = await row.clients[0].call('victim__big', {}, { mute: true }).answer
      expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
      expect(failure?.reason).toMatch(/too large/)
      expect(ms).toBeLessThan(4_000)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F13',
    'by closing its stdin loses no call: what it could not get is sent to the new process',
    STDIO,
    async row => {
      await row.inject(() => row.victim.closeInput())
      for (const { failure } of await row.answers('count', {}, { mute: true })) expect(failure).toBe(null)
      expect(row.victim.records.runs('count')).toBe(2)
      await row.lift()
      await row.shows(/closed its input/)
    },
  )

  faultRow(
    'F17',
    'by an answer to nobody on the stream of a call spoils not even that call',
    {
      transports: ['http'],
      script: {
        faults: [
          {
            on: 'tools/call',
            tool: 'count',
            do: { kind: 'garbage', text: '{"jsonrpc":"2.0","id":424242,"result":{"content":[]}}' },
          },
        ],
      },
    },
    async row => {
      await row.inject()
      for (const { failure, said } of await row.answers('count', {}, { mute: true })) {
        expect(failure).toBe(null)
        expect(said).toMatch(/^\d$/)
      }
      await row.logs(/424242/)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F24',
    'by ten thousand notifications of progress in one call is passed on at ten a second, the last one included',
    { unseen: true },
    async row => {
      await row.inject()
      for (const client of row.clients) {
        const sent = client.call(
          'victim__progress',
          { n: 10_000 },
          { mute: true, progressToken: client.name, deadlineMs: 20_000 },
        )
        const { failure, said, ms } = await sent.answer
        expect({ failure, said }).toEqual({ failure: null, said: '10000 steps' })
        const steps = sent.before.map(text => JSON.parse(text).params.progress as number)
        expect(steps.length).toBeGreaterThan(0)
        expect(steps.length).toBeLessThanOrEqual(10 * (Math.ceil(ms / 1_000) + 1))
        expect(steps).toEqual([...steps].sort((a, b) => a - b))
        expect(steps.at(-1)).toBe(10_000)
      }
      await row.lift()
    },
  )
})

describe.concurrent('a server process that makes no progress', () => {
  faultRow(
    'F12',
    'because it has not read its stdin for 30 s is started anew, and what it never got is sent there',
    { ...STDIO, eras: ['legacy'], holdfast: { requestTimeout: '60s' }, timeoutMs: 60_000 },
    async row => {
      const pid = await row.pid()
      await row.inject(() => freeze(pid))
      const filling = 'x'.repeat(400_000)
      const call = () => row.clients[1].call('victim__echo', { filling }, { deadlineMs: 50_000 })
      const first = call()
      await until('the first is under way', async () => (await row.status()).inFlight === 1)
      const second = call()
      await waitForExit(pid, 40_000)
      await row.lift()
      // Of the first one some bytes are in the pipe; of the second one none are.
      expect((await first.answer).failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
      expect((await second.answer).failure).toBe(null)
      await row.shows(/stdin|input/)
    },
  )

  faultRow(
    'F25',
    'because it visibly goes on with eight cancelled calls is started anew once it is idle',
    {
      ...STDIO,
      eras: ['legacy'],
      script: {
        ignoreCancel: true,
        tools: [{ name: 'toil', steps: [{ progress: 1_000, everyMs: 100 }], behaves: 'echo' }],
      },
      timeoutMs: 45_000,
    },
    async row => {
      const pid = await row.pid()
      const options = { progressToken: 'toil' }
      const calls = Array.from({ length: 4 }, () => row.everybody('toil', {}, options)).flat()
      await row.victim.records.waitFor(records => records.runs('toil') === 8)
      await row.inject(() => {
        for (const sent of calls) sent.cancel()
      })
      await waitForExit(pid)
      await row.lift()
      await row.shows(/cancel/)
    },
  )
})
