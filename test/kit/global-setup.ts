import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { findProcesses } from './processes.js'
import { runFolder } from './run-folder.js'

/** Gives the run its folder; at the end, fails the run when a test left a process behind. */
export default function setUp(): () => Promise<void> {
  const folder = runFolder()
  return async () => {
    const left = await leftovers(folder)
    for (const { pid } of left) process.kill(pid, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
    if (left.length === 0) return
    const list = left.map(({ pid, command }) => `  ${pid} ${command}`).join('\n')
    // vitest takes a failing teardown for a warning; the exit code is what a script sees.
    process.exitCode = 1
    throw new Error(`The tests left ${left.length} processes behind (killed now):\n${list}`)
  }
}

/** The test workers themselves carry the mark in their environment and are no leftovers. */
async function leftovers(folder: string): Promise<ReturnType<typeof findProcesses>> {
  const find = () => findProcesses(folder).filter(({ command }) => !/\bvitest\b/.test(command))
  for (let tries = 0; tries < 20; tries++) {
    if (find().length === 0) return []
    await delay(100)
  }
  return find()
}
