import { describe, expect } from 'vitest'
import { residentBytes } from '../kit/processes.js'
import { faultRow } from './harness.js'

const STDIO = { transports: ['stdio'] } as const
const MIB = 1024 * 1024
/** Of one message of a server. */
const LARGEST = 16 * MIB

/** Every length of UTF-8 sequence, a surrogate pair, and what JSON escapes. */
const TEXT = 'ä€𝄞 \u2028 "\\ \u0001'

describe('what a server writes', () => {
  faultRow(
    'F07',
    'that is no message, before and between its answers, is skipped and told',
    {
      ...STDIO,
      script: {
        banner: ['Welcome to victim 1.0', '', '=========='],
        faults: [{ on: 'tools/call', tool: 'count', do: { kind: 'garbage', text: 'debug: counting' } }],
      },
    },
    async row => {
      await row.inject()
      for (const { failure, said } of await row.answers('count', {}, { mute: true })) {
        expect(failure).toBe(null)
        expect(said).toMatch(/^\d$/)
      }
      await row.logs(/not a message on stdout: "Welcome to victim 1.0"/)
      await row.logs(/not a message on stdout: "debug: counting"/)
      expect((await row.status()).restarts).toBe(0)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F08',
    'breaks off in the middle of an answer: that call is outcome unknown, and what is left is not read',
    {
      script: ({ transport }) => ({
        answers: 'sse',
        faults: [
          {
            on: 'tools/call',
            tool: 'count',
            calls: 1,
            spawns: 1,
            do: { kind: 'cut', code: 7, stream: transport !== 'stdio' },
          },
        ],
      }),
      unseen: ({ transport }) => transport === 'http',
    },
    async row => {
      await row.inject()
      const call = row.clients[0].call('victim__count', {}, { mute: true })
      const { failure, said } = await call.answer
      expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
      expect(said).toMatch(/may (or may not )?have run/)
      await row.lift()
      if (row.variant.transport === 'stdio') await row.shows(/exited with code 7/)
      // Over HTTP nothing is down: the caller alone has lost something, and was told.
      if (row.variant.transport === 'sse') await row.shows(/./)
      expect(row.victim.records.runs('count')).toBe(1)
    },
  )

  for (const [what, stdout] of [
    ['byte by byte', { slice: 1 }],
    ['with CRLF and a byte order mark', { crlf: true, bom: true, slice: 3 }],
  ] as const) {
    faultRow(
      'F09',
      `${what} is put together again`,
      { ...STDIO, script: { stdout }, unseen: true },
      async row => {
        await row.inject()
        for (const { result, failure } of await row.answers('echo', { text: TEXT })) {
          expect(failure).toBe(null)
          expect(result?.['structuredContent']).toMatchObject({ text: TEXT })
        }
        expect(row.logLines(/./).filter(line => !line.startsWith('ready'))).toEqual([])
        await row.lift()
      },
    )
  }

  for (const answers of ['json', 'sse'] as const) {
    faultRow(
      'F09',
      `byte by byte over the network is put together again (${answers} answers)`,
      {
        transports: answers === 'json' ? ['http'] : ['http', 'sse'],
        script: { answers },
        toxic: true,
        unseen: true,
      },
      async row => {
        await row.inject(() => row.toxic.set('down', { slicer: { bytes: 1 } }))
        for (const { result, failure } of await row.answers('echo', { text: TEXT })) {
          expect(failure).toBe(null)
          expect(result?.['structuredContent']).toMatchObject({ text: TEXT })
        }
        await row.lift(() => row.toxic.clear())
      },
    )
  }

  faultRow(
    'F10',
    'is one line of 100 MB: it is not kept in memory, and nobody else waits',
    {
      ...STDIO,
      script: { faults: [{ on: 'tools/call', tool: 'big', do: { kind: 'flood', bytes: 100 * MIB } }] },
      holdfast: { requestTimeout: '1500ms' },
      growth: 2 * LARGEST + 64 * MIB,
      stuck: true,
    },
    async row => {
      const before = residentBytes(row.gateway.pid)
      let most = 0
      const watch = setInterval(() => {
        most = Math.max(most, residentBytes(row.gateway.pid) - before)
      }, 20)
      await row.inject()
      const call = row.clients[1].call('victim__big', {}, { mute: true })
      expect((await call.answer).failure?.kind).toMatch(/timeout|outcome_unknown/)
      await row.logs(/too large/)
      clearInterval(watch)
      // Twice the largest message, and what the runtime itself takes under load.
      expect(most).toBeLessThan(2 * LARGEST + 64 * MIB)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F11',
    'to stderr is a flood: the server is not held up, and what is kept of it is bounded',
    {
      ...STDIO,
      script: { tools: [{ name: 'shout', steps: [{ stderrBytes: 30 * MIB }], behaves: 'echo' }] },
      unseen: true,
    },
    async row => {
      await row.inject()
      const shout = row.clients[0].call('victim__shout')
      for (let n = 0; n < 5; n++)
        for (const { failure } of await row.answers('echo')) expect(failure).toBe(null)
      const { ms, failure } = await shout.answer
      expect(failure).toBe(null)
      expect(ms).toBeLessThan(5_000)
      const kept = JSON.stringify(await row.gateway.get('/api/v1/upstreams/victim/logs'))
      expect(kept.length).toBeLessThan(2 * 64 * 1024)
      expect(row.gateway.stderr.length).toBeLessThan(2 * 64 * 1024)
      await row.lift()
    },
  )
})
