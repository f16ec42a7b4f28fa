import { describe, expect } from 'vitest'
import { gatewayOnStdio } from '../kit/clients.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { startGateway, writeConfig } from '../kit/gateway.js'
import { rawStream } from '../kit/raw-http.js'
import { openPipe } from '../kit/raw-stdio.js'
import { hello, openSession, rpc } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'

/** A server of the modern era asks by ending the round; then nothing of the call runs anywhere. */
const ASKS = {
  transport: 'http',
  script: {
    eras: 'modern',
    tools: [
      { name: 'quiz', steps: [{ ask: { method: 'elicitation/create', params: { message: 'who?' } } }] },
    ],
  },
} as const
const ELICITATION = { elicitation: {} }
const CALL = rpc('tools/call', { name: 'a__quiz', arguments: {} }, 7)
const HOLDFAST = { shutdownTimeout: '8s' }

function expectGivenUp(answer: string | null): void {
  const { id, result } = JSON.parse(answer ?? '{}')
  expect([id, result.isError]).toEqual([7, true])
  expect(result.content[0].text).toContain('waited for the client when the gateway was stopped')
  expect(result._meta['dev.holdfast/failure']).toMatchObject({ kind: 'unavailable', upstream: 'a' })
}

const ran = (fake: Fake) => fake.records.runs('quiz')

describe('a call whose server waits for the client', () => {
  verifies(['STOP-ROUND'], 'is answered when the gateway stops, over HTTP', () =>
    withFakes([ASKS], async fake => {
      const gateway = await startGateway({ mcpServers: { a: fake.entry }, holdfast: HOLDFAST })
      try {
        await gateway.waitForState('a', 'ready')
        const { headers } = await openSession(gateway.url, '2025-11-25', ELICITATION)
        const stream = await rawStream(gateway.url, { method: 'POST', headers, body: CALL })
        while (!(await stream.next())?.includes('elicitation/create'));
        gateway.signal('SIGTERM')
        expectGivenUp(await stream.next())
        expect(await stream.next()).toBeNull()
        expect(await gateway.exit).toEqual({ code: 0, signal: null })
        expect(ran(fake)).toBe(1)
      } finally {
        gateway.signal('SIGKILL')
      }
    }),
  )

  verifies(['STOP-ROUND'], 'is answered when the gateway stops, on stdio', () =>
    withFakes([ASKS], async fake => {
      const file = writeConfig({ mcpServers: { a: fake.entry }, holdfast: HOLDFAST })
      const pipe = openPipe(await gatewayOnStdio({ config: file }))
      try {
        pipe.write(`${hello('2025-11-25', ELICITATION)}\n${CALL}\n`)
        while (!(await pipe.next())?.includes('elicitation/create'));
        pipe.signal('SIGTERM')
        expectGivenUp(await pipe.next())
        expect([await pipe.next(), await pipe.exit]).toEqual([null, 0])
        expect(ran(fake)).toBe(1)
      } finally {
        pipe.signal('SIGKILL')
      }
    }),
  )
})
