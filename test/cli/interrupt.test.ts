import { describe, expect } from 'vitest'
import { freshMark, marked, STUBBORN } from '../acceptance/stopping-shared.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { runCommand, startGateway, writeConfig } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { assertNoneLeft, findProcesses } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'

/** One command on a gateway of its own, with a server that only SIGKILL ends. */
async function withStubborn(
  args: readonly string[],
  begun: (fake: Fake) => Promise<unknown>,
  body: (run: {
    readonly fake: Fake
    readonly mark: string
    readonly result: ReturnType<typeof runCommand>
    signal(signal: NodeJS.Signals): void
  }) => Promise<void>,
): Promise<void> {
  await withFakes([STUBBORN], async fake => {
    const mark = freshMark()
    const config = writeConfig({
      mcpServers: { a: marked(fake, mark) },
      holdfast: { listen: { port: await closedPort() } },
    })
    const result = runCommand([...args, '--config', config])
    await begun(fake)
    const [cli] = findProcesses(config)
    await body({ fake, mark, result, signal: signal => process.kill(cli?.pid ?? 0, signal) })
  })
}

const CALL = ['call', 'a__sleep', 'ms=120000']
const called = (fake: Fake) => fake.records.waitFor(records => records.runs('sleep') === 1, 20_000)

describe('a command with servers of its own', () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    verifies(['STOP-COMMAND'], `that gets ${signal} ends a stubborn child before itself`, () =>
      withStubborn(CALL, called, async ({ fake, mark, result, ...run }) => {
        const since = performance.now()
        run.signal(signal)
        const { code, stderr } = await result
        expect([code, stderr]).toEqual([
          1,
          expect.stringContaining('The call was interrupted; it may have run.'),
        ])
        expect(performance.now() - since).toBeGreaterThan(4_500)
        await assertNoneLeft(mark, 0)
        const seen = fake.records.all.map(({ kind }) => kind)
        expect(seen.filter(kind => ['cancelled', 'stdin-end', 'sigterm'].includes(kind))).toEqual([
          'cancelled',
          'stdin-end',
          'sigterm',
        ])
      }),
    )
  }

  verifies(['STOP-COMMAND'], 'kills it at once at a second Ctrl-C', () =>
    withStubborn(CALL, called, async ({ fake, mark, result, ...run }) => {
      run.signal('SIGINT')
      await fake.records.waitFor(records => records.all.some(({ kind }) => kind === 'stdin-end'), 20_000)
      const since = performance.now()
      run.signal('SIGINT')
      expect((await result).code).toBe(130)
      await expectWithin(performance.now() - since, 1_500)
      await assertNoneLeft(mark)
      expect(fake.records.all.map(({ kind }) => kind)).not.toContain('sigterm')
    }),
  )

  verifies(
    ['STOP-COMMAND'],
    'kills it at a Ctrl-C after the command is done, while it waits for the end of the child',
    () =>
      withStubborn(
        ['call', 'a__echo', 'x=1'],
        fake => fake.records.waitFor(records => records.all.some(({ kind }) => kind === 'stdin-end'), 20_000),
        async ({ mark, result, ...run }) => {
          run.signal('SIGINT')
          expect((await result).code).toBe(130)
          await assertNoneLeft(mark)
        },
      ),
  )
})

verifies(['STOP-COMMAND'], 'a call through a running gateway is cancelled by a Ctrl-C', () =>
  withFakes([{ transport: 'http', script: { builtins: ['sleep'] } }], async fake => {
    const gateway = await startGateway({ mcpServers: { a: fake.entry } })
    try {
      await gateway.waitForState('a', 'ready')
      const result = runCommand([...CALL, '--url', gateway.url])
      await called(fake)
      const cli = findProcesses('ms=120000').find(({ command }) => command.includes(gateway.url))
      process.kill(cli?.pid ?? 0, 'SIGINT')
      expect((await result).code).toBe(1)
      await fake.records.waitFor(records => records.all.some(({ kind }) => kind === 'cancelled'))
    } finally {
      gateway.signal('SIGKILL')
      await gateway.exit
    }
  }),
)
