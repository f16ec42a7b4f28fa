import { describe, expect } from 'vitest'
import { expectWithin } from '../kit/slowness.js'
import { RowClient } from './clients.js'
import { faultRow, type Row } from './harness.js'

const QUESTION = {
  method: 'elicitation/create',
  params: { message: 'who?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } },
}
const ASKING = JSON.stringify({ jsonrpc: '2.0', id: 'question', ...QUESTION })

/** Clients that can be asked, and answer with their name. */
function openAnswering(row: Row, ...names: string[]): Promise<readonly RowClient[]> {
  const open = (name: string) => {
    const answering = () => ({ action: 'accept', content: { name } })
    return new RowClient(name, 'legacy', row.gateway.url, row.ledger, answering).open()
  }
  return Promise.all(names.map(open))
}

const MUTE = { mute: true }

describe("a server's question", () => {
  faultRow(
    'F23',
    'on a line that several callers share is put to the one it can only be meant for, else refused',
    {
      transports: ['stdio', 'sse'],
      eras: ['legacy'],
      script: { tools: [{ name: 'quiz', steps: [{ wait: 'ask' }, { say: ASKING }, { wait: 'end' }] }] },
      unseen: true,
    },
    async row => {
      const both = await openAnswering(row, 'first', 'second')
      const { records } = row.victim
      const reply = async (n: number) =>
        (await records.waitFor(() => records.ofKind('response')[n - 1]))?.raw ?? ''
      const calls = both.map(client => client.call('victim__quiz', {}, MUTE))
      await records.waitFor(() => records.runs('quiz') === 2)
      await row.inject(() => row.victim.release('ask'))
      expect(await reply(1)).toMatch(/"id":"question","error":\{"code":-32601/)
      await row.victim.release('ask')
      expect(await reply(2)).toMatch(/"error":\{"code":-32601/)
      await row.victim.release('end', 2)
      for (const { answer } of calls) expect((await answer).failure).toBe(null)
      expect(both.map(({ asked }) => asked)).toEqual([[], []])

      const alone = both[1]?.call('victim__quiz', {}, MUTE)
      await row.victim.release('ask')
      expect(await reply(3)).toContain('"second"')
      await row.victim.release('end')
      await alone?.answer
      expect(both.map(({ asked }) => asked)).toEqual([[], [QUESTION.method]])
      await row.lift()
      for (const client of both) client.close()
    },
  )

  faultRow(
    'F23',
    'on the stream of one call is put to the caller of that call, however many there are',
    {
      transports: ['http'],
      eras: ['legacy'],
      script: { tools: [{ name: 'quiz', steps: [{ wait: 'ask' }, { ask: QUESTION }] }] },
      unseen: true,
      sessions: 1,
    },
    async row => {
      const names = ['first', 'second', 'third']
      const all = await openAnswering(row, ...names)
      const calls = all.map(client => client.call('victim__quiz', {}, MUTE))
      await row.victim.records.waitFor(records => records.runs('quiz') === 3)
      await row.inject(() => row.victim.release('ask', 3))
      for (const [index, { answer }] of calls.entries()) expect((await answer).said).toContain(names[index])
      expect(all.map(({ asked }) => asked)).toEqual(names.map(() => [QUESTION.method]))
      await row.lift()
      for (const client of all) client.close()
    },
  )

  faultRow(
    'F23',
    'as a request of its own, which its era does not have, is put to nobody, and told',
    {
      transports: ['stdio', 'http'],
      eras: ['modern'],
      script: { tools: [{ name: 'quiz', steps: [{ say: ASKING }], behaves: 'echo' }] },
    },
    async row => {
      const [asking] = await openAnswering(row, 'first')
      await row.inject()
      expect((await asking?.call('victim__quiz').answer)?.failure).toBe(null)
      for (const { failure } of await row.answers('quiz')) expect(failure).toBe(null)
      expect(asking?.asked).toEqual([])
      await row.logs(/a request from the server \(elicitation\/create\)/)
      await row.lift()
      asking?.close()
    },
  )
})

const progress = (token: string) =>
  `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}`

describe("a server's progress", () => {
  faultRow(
    'F24',
    'for a token that nobody has reaches nobody, and that of the call itself does',
    {
      script: {
        tools: [
          {
            name: 'work',
            steps: ['"nobody"', '999999', '-1', 'null', '$TOKEN', '[1]'].map(token => ({
              say: progress(token),
            })),
            behaves: 'echo',
          },
        ],
      },
      unseen: true,
    },
    async row => {
      await row.inject()
      const bystander = row.clients[0].call('victim__hold', {}, { progressToken: 'waiting' })
      for (const client of row.clients) {
        const sent = client.call('victim__work', {}, { progressToken: `of-${client.name}` })
        expect((await sent.answer).failure).toBe(null)
        const tokens = sent.before.map(text => JSON.parse(text).params.progressToken)
        expect(tokens).toEqual([`of-${client.name}`])
      }
      await row.lift(() => row.victim.release('held'))
      await bystander.answer
      expect(bystander.before).toEqual([])
    },
  )
})

describe('a cancellation', () => {
  faultRow(
    'F25',
    'that the server ignores frees the caller at once, and is told to the server once',
    { script: { ignoreCancel: true }, unseen: true, stuck: true },
    async row => {
      const calls = await row.held()
      const cancelled = performance.now()
      await row.inject(() => {
        for (const sent of calls) sent.cancel()
      })
      for (const { answer } of calls) await expect(answer).rejects.toThrow('ended without an answer')
      await expectWithin(performance.now() - cancelled, 500)
      await row.answers('echo')
      const seen = row.victim.records.all.filter(
        ({ kind }) => kind === 'cancelled' || kind === 'disconnected',
      )
      // A legacy server over HTTP may see its stream end after it was told.
      const told = seen.filter(({ kind }) => kind === 'cancelled')
      expect(told.length).toBe(2)
      await row.lift(() => row.victim.release('held', 2))
      await row.answers('echo')
    },
  )
})
