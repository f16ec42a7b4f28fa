import { describe, expect } from 'vitest'
import type { Fault, Script } from '../kit/fake-mcp.js'
import { expectWithin } from '../kit/slowness.js'
import { faultRow } from './harness.js'

const STRAY = '{"jsonrpc":"2.0","id":424242,"result":{"content":[{"type":"text","text":"stray"}]}}'
const onCount = (action: Fault['do']): { faults: Fault[] } => ({
  faults: [{ on: 'tools/call', tool: 'count', do: action }],
})
const onHttp = ({ transport }: { readonly transport: string }) => transport === 'http'

/** A tool for each way to answer. */
function spoiling(actions: Readonly<Record<string, Fault['do']>>): Script {
  return {
    tools: Object.keys(actions).map(name => ({ name })),
    faults: Object.entries(actions).map(([tool, action]) => ({ on: 'tools/call', tool, do: action })),
  }
}

describe('an answer', () => {
  faultRow(
    'F17',
    'with an id that nobody asked with is dropped and told; the right one counts',
    { transports: ['stdio', 'sse'], script: onCount({ kind: 'garbage', text: STRAY }) },
    async row => {
      await row.inject()
      for (const { failure, said } of await row.answers('count', {}, { mute: true })) {
        expect(failure).toBe(null)
        expect(said).toMatch(/^\d$/)
      }
      await row.logs(/unknown id: 424242/)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F18',
    'that comes twice counts once, and the second is told',
    { script: onCount({ kind: 'duplicate' }), unseen: onHttp },
    async row => {
      await row.inject()
      const said = (await row.answers('count', {}, { mute: true })).map(answer => answer.said)
      expect([...said].sort()).toEqual(['1', '2'])
      // Over HTTP each answer has a stream of its own, which is over with the first.
      if (!onHttp(row.variant)) await row.logs(/unknown id/)
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F19',
    'that comes after its caller was told of a timeout, or gave up, reaches nobody',
    { script: { ignoreCancel: true }, holdfast: { requestTimeout: '1500ms' }, unseen: true, stuck: true },
    async row => {
      const given = await row.held()
      for (const sent of given) sent.cancel()
      await row.inject()
      const late = await row.held()
      for (const { answer } of late) {
        expect((await answer).failure).toMatchObject({ kind: 'timeout', upstream: 'victim' })
      }
      await row.lift(() => row.victim.release('held', 4))
      for (let round = 0; round < 5; round++) await row.answers('echo', { round })
      expect(row.logLines(/unknown id/)).toEqual([])
      expect(given.flatMap(({ answers }) => answers)).toEqual([])
    },
  )

  faultRow(
    'F20',
    'whose id has become a string, or an error without an id, is matched to no call that shares its line with others',
    {
      script: spoiling({
        retyped: { kind: 'raw', text: '{"jsonrpc":"2.0","id":"$ID","result":{"content":[]}}' },
        nameless: {
          kind: 'raw',
          text: '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"lost"}}',
        },
      }),
      holdfast: { requestTimeout: '600ms' },
      unseen: onHttp,
      stuck: true,
    },
    async row => {
      await row.inject()
      const calls = ['retyped', 'nameless'].flatMap(tool => row.everybody(tool, {}, { mute: true }))
      for (const { answer, tool } of calls) {
        const { failure, error, ms } = await answer
        if (!onHttp(row.variant)) expect(failure).toMatchObject({ kind: 'timeout', upstream: 'victim' })
        // Over HTTP it can be meant for nobody else: the caller is told at once.
        else if (tool === 'victim__nameless') expect(error?.message).toBe('lost')
        else expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
        if (onHttp(row.variant)) await expectWithin(ms, 550)
      }
      if (!onHttp(row.variant)) await row.logs(/unknown id/)
      await row.lift()
    },
  )

  faultRow(
    'F21',
    'with both a result and an error, with neither, or without a version ends its call as a violation at once',
    {
      script: spoiling({
        both: { kind: 'both' },
        neither: { kind: 'neither' },
        versionless: { kind: 'raw', text: '{"id":$ID,"result":{"content":[]}}' },
      }),
      unseen: true,
    },
    async row => {
      await row.inject()
      for (const tool of ['both', 'neither', 'versionless']) {
        for (const { failure, said, ms } of await row.answers(tool, {}, { mute: true })) {
          expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
          expect(said).toMatch(/victim: sent an invalid message.*may have run/)
          await expectWithin(ms, 1_000)
        }
        // Five failures in a row would open the breaker.
        await row.answers('echo')
      }
      await row.lift()
    },
  )

  faultRow(
    'F22',
    'of an unknown type passes where types have no meaning, and is a violation where they have one',
    { script: onCount({ kind: 'unknown-result-type' }), unseen: true },
    async row => {
      await row.inject()
      for (const { failure, result } of await row.answers('count', {}, { mute: true })) {
        if (row.variant.era === 'legacy') expect(result).toMatchObject({ content: [] })
        else expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'victim' })
      }
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )

  faultRow(
    'F22',
    'that asks for input, from a server of an era without such answers, is one answer like any other',
    {
      eras: ['legacy'],
      script: onCount({
        kind: 'result',
        raw: '{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}},"requestState":"s"}',
      }),
      unseen: true,
    },
    async row => {
      await row.inject()
      for (const { text } of await row.answers('count', {}, { mute: true })) expect(text).not.toBe('')
      await row.lift(() => row.victim.set({ ...row.victim.script, faults: [] }))
    },
  )
})
