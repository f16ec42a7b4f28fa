import { describe, expect } from 'vitest'
import type { Transition } from '../../src/control/transitions.js'
import { type FakeOptions, withFakes } from '../kit/fake-mcp.js'
import { startGateway } from '../kit/gateway.js'
import { rawPost, rawStream } from '../kit/raw-http.js'
import { openSession, rpc } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'

const TOOLS = [{ name: 'held', steps: [{ wait: 'gate' }], result: '{"content":[]}' }]
const ROWS: readonly (readonly [string, FakeOptions])[] = [
  ['of a program', { transport: 'stdio', script: { tools: TOOLS } }],
  ['of the stream of an SSE server', { transport: 'sse', script: { tools: TOOLS } }],
]

describe('the death', () => {
  for (const [what, options] of ROWS) {
    verifies(
      ['DEATH-ONCE'],
      `${what} with eight calls under way is one failure, and no breaker opens for it`,
      () =>
        withFakes([options], async fake => {
          const gateway = await startGateway({ mcpServers: { a: fake.entry } })
          try {
            const { pid } = await gateway.waitForState('a', 'ready')
            const { headers } = await openSession(gateway.url)
            const events = await rawStream(`${gateway.origin}/api/v1/events`, { method: 'GET' })
            await events.next()
            const call = rpc('tools/call', { name: 'a__held', arguments: {} }, 0)
            const answers = Array.from({ length: 8 }, (_, at) =>
              rawPost(gateway.url, call.replace('"id":0', `"id":${at}`), headers),
            )
            await fake.records.waitFor(records => records.runs('held') === 8)
            if (pid) process.kill(pid, 'SIGKILL')
            else fake.cutStreams({ abruptly: true })
            for (const { text } of await Promise.all(answers)) expect(text).toContain('outcome_unknown')
            const seen: Transition[] = []
            do seen.push(JSON.parse((await events.next()) ?? 'null'))
            while (seen.at(-1)?.change !== 'state' || seen.at(-1)?.to !== 'ready')
            expect(seen.filter(({ change }) => change === 'breaker')).toEqual([])
            expect((await gateway.upstream('a')).breaker).toBe('closed')
            events.drop()
          } finally {
            gateway.signal('SIGKILL')
            await gateway.exit
          }
        }),
    )
  }
})
