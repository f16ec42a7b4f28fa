import { PassThrough } from 'node:stream'
import { describe, expect } from 'vitest'
import { Bridge } from '../../src/cli/bridge.js'
import { gatewayOnStdio } from '../kit/clients.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { openPipe, type RawPipe } from '../kit/raw-stdio.js'
import { hello, modern, rpc } from '../kit/scripted-core.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'

const HELD = {
  transport: 'http',
  script: { tools: [{ name: 'held', steps: [{ wait: 'gate' }], result: '{"content":[]}' }] },
} as const
const call = (id: unknown) => rpc('tools/call', { name: 'a__held', arguments: {} }, id)

interface Set {
  readonly pipe: RawPipe
  readonly gateway: TestGateway
  readonly fake: Fake
}

/** A bridge with a legacy session, and a call of each era that the server has taken. */
async function withCalls(body: (set: Set) => Promise<void>, port = 0): Promise<void> {
  await withFakes([HELD], async fake => {
    const config = { mcpServers: { a: fake.entry } }
    const gateway = await startGateway(config, port ? { args: ['--port', String(port)] } : {})
    const pipe = openPipe(await gatewayOnStdio({ url: gateway.url }))
    try {
      await gateway.waitForState('a', 'ready')
      pipe.write(`${hello()}\n`)
      expect(await pipe.next()).toContain('"protocolVersion"')
      pipe.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
      const stateless = modern('tools/call', { name: 'a__held', arguments: {} }, 'm')
      pipe.write(`${call(7)}\n${stateless.body}\n`)
      await fake.records.waitFor(records => records.runs('held') === 2)
      await body({ pipe, gateway, fake })
    } finally {
      pipe.signal('SIGKILL')
      gateway.signal('SIGKILL')
      await Promise.all([pipe.exit, gateway.exit])
    }
  })
}

const answersOf = async (pipe: RawPipe, count: number) => {
  const answers = new Map<unknown, Record<string, unknown>>()
  while (answers.size < count) {
    const line = JSON.parse((await pipe.next()) ?? 'null')
    if (line.id !== undefined && line.method === undefined) answers.set(line.id, line)
  }
  return answers
}

/** A signal may come later than a line: pings until one is refused. */
async function untilRefused(pipe: RawPipe): Promise<Record<string, unknown>> {
  for (let id = 100; ; id += 1) {
    pipe.write(`${rpc('ping', {}, id)}\n`)
    const answer = (await answersOf(pipe, 1)).get(id)
    if (answer?.['error']) return answer
  }
}

function expectUnknown(answers: Map<unknown, Record<string, unknown>>): void {
  for (const id of [7, 'm']) {
    const { result } = answers.get(id) as { result: Record<string, never> }
    expect(result).toMatchObject({ isError: true })
    expect(result['_meta']).toMatchObject({ 'dev.holdfast/failure': { kind: 'outcome_unknown' } })
    expect(JSON.stringify(result['content'])).toContain('may or may not have run')
  }
  expect((answers.get('m') as { result: object }).result).toMatchObject({ resultType: 'complete' })
  expect((answers.get(7) as { result: object }).result).not.toHaveProperty('resultType')
}

describe('a bridge to a gateway', () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    verifies(['STOP-BRIDGE'], `that gets ${signal} lets calls end, refuses new ones, and exits 0`, () =>
      withCalls(async ({ pipe, fake }) => {
        pipe.signal(signal)
        const refused = await untilRefused(pipe)
        expect(refused['error']).toMatchObject({ code: 42901, message: expect.stringContaining('stopping') })
        await fake.release('gate', 2)
        const answers = await answersOf(pipe, 2)
        for (const id of [7, 'm']) expect(answers.get(id)?.['result']).toMatchObject({ content: [] })
        expect([await pipe.next(), await pipe.exit]).toEqual([null, 0])
        expect(fake.records.runs('held')).toBe(2)
      }),
    )
  }

  verifies(['STOP-BRIDGE'], 'whose client closes its end answers what it asked before', () =>
    withCalls(async ({ pipe, fake }) => {
      pipe.endInput()
      await fake.release('gate', 2)
      expect([...(await answersOf(pipe, 2)).keys()].sort()).toEqual([7, 'm'])
      expect([await pipe.next(), await pipe.exit]).toEqual([null, 0])
    }),
  )

  verifies(
    ['STOP-BRIDGE'],
    'that gets a second signal answers whoever waits, and is gone within a second',
    () =>
      withCalls(async ({ pipe }) => {
        pipe.signal('SIGTERM')
        await untilRefused(pipe)
        const since = performance.now()
        pipe.signal('SIGTERM')
        expectUnknown(await answersOf(pipe, 2))
        expect([await pipe.next(), await pipe.exit]).toEqual([null, 130])
        await expectWithin(performance.now() - since, 1_500)
      }),
  )

  verifies(['STOP-BRIDGE'], 'whose gateway dies says that the outcome is unknown', () =>
    withCalls(async ({ pipe, gateway }) => {
      gateway.signal('SIGKILL')
      expectUnknown(await answersOf(pipe, 2))
    }),
  )

  verifies(
    ['STOP-BRIDGE'],
    'whose session is gone ends with 69, so that its client begins anew',
    async () => {
      const port = await closedPort()
      await withCalls(async ({ pipe, gateway, fake }) => {
        gateway.signal('SIGKILL')
        await gateway.exit
        await answersOf(pipe, 2)
        const again = await startGateway(
          { mcpServers: { a: fake.entry } },
          { args: ['--port', String(port)] },
        )
        try {
          pipe.write(`${rpc('ping', {}, 8)}\n`)
          expect((await answersOf(pipe, 1)).get(8)).toHaveProperty('error')
          expect([await pipe.next(), await pipe.exit]).toEqual([null, 69])
        } finally {
          again.signal('SIGKILL')
          await again.exit
        }
      }, port)
    },
  )

  verifies(['STOP-BRIDGE'], 'waits for calls as long as a gateway would and no longer', () =>
    withFakes([HELD], async fake => {
      const gateway = await startGateway({ mcpServers: { a: fake.entry } })
      try {
        await gateway.waitForState('a', 'ready')
        const [input, output] = [new PassThrough(), new PassThrough()]
        const made = new Bridge(gateway.url, input, output, 300)
        input.write(`${modern('tools/call', { name: 'a__held', arguments: {} }, 'm').body}\n`)
        await fake.records.waitFor(records => records.runs('held') === 1)
        input.end()
        await made.ended
        expect(await made.close()).toBe(0)
        const { result } = JSON.parse(String(output.read()))
        expect(result._meta['dev.holdfast/failure']).toMatchObject({ kind: 'outcome_unknown' })
        expect(result.content[0].text).toContain('the bridge to the gateway was stopped')
        await fake.records.waitFor(records =>
          records.all.some(({ kind }) => kind === 'cancelled' || kind === 'disconnected'),
        )
      } finally {
        gateway.signal('SIGKILL')
        await gateway.exit
      }
    }),
  )
})
