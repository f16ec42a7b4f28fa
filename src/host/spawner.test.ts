import { afterEach, describe, expect, test } from 'vitest'
import { markedEnvironment } from '../../test/kit/processes.js'
import { verifies } from '../../test/kit/verifies.js'
import type { Child } from '../runtime/ports.js'
import { nodeHost } from './index.js'

const open: Child[] = []

afterEach(() => {
  for (const child of open.splice(0)) {
    child.killGroup('SIGKILL')
    child.release()
  }
})

/** A shell that said something, and what is told of its input. */
async function shell(script: string) {
  const told: string[] = []
  let said: () => void = () => undefined
  const spoke = new Promise<void>(resolve => {
    said = resolve
  })
  const child = nodeHost().spawner.spawn(
    { command: '/bin/sh', args: ['-c', script], env: markedEnvironment() },
    {
      spawned: () => undefined,
      failed: () => undefined,
      stdout: () => said(),
      stdoutEnd: () => undefined,
      stderr: () => undefined,
      stdinBroken: () => told.push('broken'),
      drain: () => told.push('drain'),
      exit: () => undefined,
    },
  )
  open.push(child)
  await spoke
  return { child, told }
}

describe("a child's input", () => {
  verifies(['I106'], 'takes nothing once it was closed, however much is written, and says so', async () => {
    for (const size of [200, 20_000, 300_000]) {
      const { child, told } = await shell('exec 0<&-; echo up; sleep 60')
      expect([child.write(Buffer.alloc(size, 'x')), child.queuedBytes]).toEqual([false, 0])
      await expect.poll(() => told).toEqual(['broken'])
    }
  })

  test('that is full tells so with the first line that it does not take whole, and drains', async () => {
    const { child, told } = await shell("trap 'cat >/dev/null' TERM; echo up; while :; do sleep 0.05; done")
    let lines = 0
    while (child.write(Buffer.alloc(1_000, 'x')) && lines < 10_000) lines += 1
    expect(child.queuedBytes).toBeGreaterThan(0)
    expect(child.queuedBytes).toBeLessThanOrEqual(1_000)
    expect(told).toEqual([])
    child.killGroup('SIGTERM')
    await expect.poll(() => told).toEqual(['drain'])
    expect(child.queuedBytes).toBe(0)
  })
})
