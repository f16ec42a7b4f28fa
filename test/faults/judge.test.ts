import { describe, expect, test } from 'vitest'
import type { FakeRecord } from '../kit/fake-records.js'
import { variantsOf } from './harness.js'
import { innerFaults, leaks, misdelivered, replayed, unanswered } from './judge.js'
import { Ledger, readAnswer, type Sent } from './ledger.js'

function sent(part: Partial<Sent> = {}, ...texts: readonly string[]): Sent {
  const answers = texts.map(text => readAnswer(text, 5))
  return {
    client: 'old',
    method: 'tools/call',
    tool: 'victim__echo',
    nonce: 'nonce-old-1-',
    echoes: true,
    sentAt: 0,
    deadlineMs: 1_000,
    before: [],
    answers,
    cancelled: false,
    answer: Promise.resolve(answers[0] ?? readAnswer('{}', 0)),
    cancel: () => {},
    ...part,
  }
}

function ledgerOf(...all: readonly Sent[]): Ledger {
  const ledger = new Ledger()
  ledger.sent.push(...all)
  return ledger
}

const OWN = '{"id":1,"result":{"content":[{"type":"text","text":"nonce-old-1-"}]}}'
const OTHERS = OWN.replace('old-1', 'new-1')
const FAILED = '{"id":1,"result":{"isError":true,"_meta":{"dev.holdfast/failure":{"kind":"timeout"}}}}'

describe('the judge of a row', () => {
  test('is content with one own answer in time, a failure, and a cancelled call without one', () => {
    const ledger = ledgerOf(sent({}, OWN), sent({}, FAILED), sent({ cancelled: true }))
    ledger.unasked.push({ client: 'old', text: '{"method":"notifications/tools/list_changed"}' })
    expect([...unanswered(ledger), ...misdelivered(ledger), ...replayed(ledger, [])]).toEqual([])
  })

  test('sees a request without an answer, with two of them, and with one that is late', () => {
    const late = sent({ answers: [readAnswer(OWN, 2_001)] })
    const found = unanswered(ledgerOf(sent(), sent({}, OWN, OWN), late))
    expect(found).toEqual([
      expect.stringMatching(/^I1: .* has no answer/),
      expect.stringMatching(/^I1: .* has 2 answers/),
      expect.stringMatching(/^I1: .* after 2001 ms/),
    ])
  })

  test("sees another call's answer, another call's progress, and an answer that is nobody's", () => {
    expect(misdelivered(ledgerOf(sent({}, OTHERS))).length).toBe(2)
    expect(
      misdelivered(ledgerOf(sent({ before: ['{"method":"x","params":"nonce-new-7-"}'] }, OWN))).length,
    ).toBe(1)
    expect(misdelivered(ledgerOf(sent({}, '{"id":1,"result":{"content":[]}}'))).length).toBe(1)
  })

  test('sees what came to a client unasked: an answer, or what belongs to another client', () => {
    const ledger = ledgerOf()
    ledger.unasked.push({ client: 'old', text: '{"id":4,"result":{}}' })
    ledger.unasked.push({ client: 'old', text: '{"method":"notifications/message","params":"nonce-new-2-"}' })
    expect(misdelivered(ledger).length).toBe(2)
  })

  test('sees a call that ran twice', () => {
    const run = { kind: 'run', at: 0, pid: 1, args: '{"nonce":"nonce-old-1-"}' } as FakeRecord
    expect(replayed(ledgerOf(sent({}, OWN)), [run])).toEqual([])
    expect(replayed(ledgerOf(sent({}, OWN)), [run, run])).toEqual([expect.stringContaining('ran 2 times')])
  })

  test('sees a fault of the gateway itself in its log, and nothing in its usual lines', () => {
    const usual =
      '{"level":"warn","message":"backoff: exited with code 1: Error: no database"}\nSIGTERM: draining'
    expect(innerFaults(usual)).toEqual([])
    for (const line of [
      'holdfast: a fault of the gateway, please report it: TypeError: x is undefined',
      '    at Foo.bar (file:///dist/runtime/gateway.js:12:3)',
      '(node:1) MaxListenersExceededWarning: Possible EventEmitter memory leak detected.',
      'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
    ]) {
      expect(innerFaults(`${usual}\n${line}`).length).toBe(1)
    }
  })

  test('sees a secret', () => {
    expect(leaks('canary-1', { status: '{"x":"canary-1"}', log: 'nothing' })).toEqual([
      'I8: a secret of the config stands in status',
    ])
  })
})

describe('the variants of a row', () => {
  test('are every transport in every era that it has', () => {
    expect(variantsOf({}).map(({ transport, era }) => `${era} ${transport}`)).toEqual([
      'legacy stdio',
      'modern stdio',
      'legacy http',
      'modern http',
      'legacy sse',
    ])
    expect(variantsOf({ transports: ['sse'], eras: ['modern'] })).toEqual([])
  })
})
