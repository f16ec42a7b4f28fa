import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CLI, ensureBuilt } from '../kit/build.js'
import { withFakes } from '../kit/fake-mcp.js'
import { gatewayEnvironment, TestGateway, withGateway } from '../kit/gateway.js'
import { markedEnvironment } from '../kit/processes.js'

const TALKATIVE = {
  command: process.execPath,
  args: [
    '-e',
    'process.stdin.on("end", () => process.exit()).resume(); setInterval(() => console.error("beat"), 50)',
  ],
  env: markedEnvironment(),
}

async function endOf(child: ChildProcess) {
  const command = new TestGateway(child, '')
  const { code } = await command.exit
  return { code, talk: command.stderr }
}

/** The end of a command of which nobody reads more than the first piece of output. */
async function readOnce(gateway: TestGateway, ...args: string[]) {
  await ensureBuilt()
  const child = spawn(process.execPath, [CLI, ...args, '--url', gateway.url], { env: gatewayEnvironment() })
  child.stdout.once('data', () => child.stdout.destroy())
  return endOf(child)
}

const TOOLS = Array.from({ length: 200 }, (_, n) => ({ name: `tool${n}`, description: 'd'.repeat(2_000) }))

describe('a command whose output is not read to its end', () => {
  test('ends without a fault', async () => {
    await withFakes([{ transport: 'stdio', script: { tools: TOOLS } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        for (const args of [['tools'], ['tools', '--json'], ['status'], ['status', '--json']])
          expect(await readOnce(gateway, ...args)).toEqual({ code: 0, talk: '' })
      })
    })
  })

  test('ends, also where it would go on for ever, and the gateway runs on', async () => {
    await withGateway({ mcpServers: { a: TALKATIVE } }, async gateway => {
      for (const args of [
        ['logs', 'a', '--follow'],
        ['logs', 'a', '--follow', '--json'],
        ['status', '--watch'],
      ])
        expect(await readOnce(gateway, ...args)).toEqual({ code: 0, talk: '' })
      expect(gateway.running).toBe(true)
    })
  })

  test('fails with one line where the disk is full', async () => {
    await ensureBuilt()
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [CLI, '--version'], {
      env: gatewayEnvironment(),
      stdio: ['ignore', full, 'pipe'],
    })
    closeSync(full)
    expect(await endOf(child)).toEqual({
      code: 1,
      talk: 'holdfast: the output cannot be written: ENOSPC: no space left on device, write\n',
    })
  })
})
