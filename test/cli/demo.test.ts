import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ensureBuilt, ROOT } from '../kit/build.js'
import { connectV1Http } from '../kit/clients.js'
import { startFake } from '../kit/fake-mcp.js'
import { gatewayEnvironment, startGateway, type TestConfig } from '../kit/gateway.js'
import { blackHole, closedPort } from '../kit/ports.js'
import { markedEnvironment } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { slowness } from '../kit/slowness.js'

describe('the demo', () => {
  test('shows what is up, and what is down and why', async () => {
    await ensureBuilt()
    const env = gatewayEnvironment({ DEMO_MEMORY_FILE: join(freshFolder('demo'), 'memory.jsonl') })
    const demo = spawn(process.execPath, [join(ROOT, 'examples/demo.mjs'), '--port', '0'], { env })
    try {
      let shown = ''
      await new Promise<void>((resolve, reject) => {
        demo.stdout.setEncoding('utf8').on('data', (text: string) => {
          shown += text
          if (/✗ crashing .*\n/.test(shown)) resolve()
        })
        demo.once('exit', code => reject(new Error(`the demo ended with code ${code}: ${shown}`)))
      })
      expect(shown).toMatch(/Holdfast is listening on http:\/\/127\.0\.0\.1:\d+\/mcp/)
      for (const name of ['everything', 'remote', 'files', 'memory'])
        expect(shown).toMatch(new RegExp(`● ${name} +ready +\\d+ tools`))
      expect(shown).toMatch(/✗ closed +(backoff|starting) +.*connection refused by 127\.0\.0\.1:9/)
      expect(shown).toMatch(/✗ crashing +(backoff|starting) +.*exited with code 1: no database\s+configured/)
    } finally {
      const ended = new Promise(resolve => demo.once('exit', resolve))
      demo.kill('SIGTERM')
      await ended
    }
  })
})

/** From the start of the process. */
const FIRST_MS = 2_000

type Closing = () => Promise<unknown>

/** Starts a gateway and asks it for its tools as soon as it listens. */
async function firstList(mcpServers: TestConfig['mcpServers'], opened: Closing[]) {
  const slow = await slowness()
  const spawned = performance.now()
  const gateway = await startGateway({ mcpServers })
  opened.push(() => gateway.stop())
  const client = await connectV1Http(gateway.url)
  opened.push(() => client.close())
  const { tools, _meta } = await client.listTools()
  const ms = (performance.now() - spawned) / slow
  const missing = (_meta?.['dev.holdfast/unavailable'] ?? []) as { readonly upstream: string }[]
  return {
    client,
    ms,
    tools: tools.map(({ name }) => name),
    missing: missing.map(({ upstream }) => upstream),
  }
}

/** In time, and the good server was in time for it. */
function isQuick({ ms, tools }: Awaited<ReturnType<typeof firstList>>): boolean {
  return ms < FIRST_MS && tools.length === 1
}

describe('the first list after the process started', () => {
  const node = (code: string) => ({ command: process.execPath, args: ['-e', code], env: markedEnvironment() })

  test('comes within a second, with servers that hang, refuse and crash, and later takes as long as without them', async () => {
    const hole = await blackHole()
    const fake = await startFake({ transport: 'http', script: { builtins: ['echo'] } })
    const opened: Closing[] = []
    try {
      const good = { fake: fake.entry }
      const bad = {
        hung: { type: 'http', url: hole.url },
        silent: node('setInterval(() => {}, 1000)'),
        refused: { type: 'http', url: `http://127.0.0.1:${await closedPort()}/mcp` },
        crashing: node('process.exit(1)'),
      }
      // A second on an idle machine. One slow start of three may be the machine's; three are not.
      let first = await firstList({ ...bad, ...good }, opened)
      for (let again = 0; again < 2 && !isQuick(first); again += 1)
        first = await firstList({ ...bad, ...good }, opened)
      expect(first.ms).toBeLessThan(FIRST_MS)
      expect(first.tools).toEqual(['fake__echo'])
      expect(first.missing).toEqual(['hung', 'silent', 'refused', 'crashing'])
      const { client } = first
      const plain = await startGateway({ mcpServers: good })
      opened.push(() => plain.stop())
      const other = await connectV1Http(plain.url)
      opened.push(() => other.close())
      await plain.settled()
      const time = async (each: typeof client) => {
        const started = performance.now()
        for (let i = 0; i < 25; i += 1) await each.listTools()
        return performance.now() - started
      }
      await time(other)
      // The quickest of each: in between, the machine may have been busy with other things.
      let [withBad, without] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
      for (let round = 0; round < 40 && (round < 10 || withBad / without >= 2); round += 1) {
        withBad = Math.min(withBad, await time(client))
        without = Math.min(without, await time(other))
      }
      // The list itself is a little longer: it names four servers.
      expect(withBad / without).toBeLessThan(2)
    } finally {
      for (const close of opened.reverse()) await close()
      await fake.stop()
      await hole.close()
    }
  })
})
