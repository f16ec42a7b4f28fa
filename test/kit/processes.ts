import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { runFolder } from './run-folder.js'

export interface FoundProcess {
  readonly pid: number
  readonly command: string
}

/** Live processes whose command line or environment contains `mark`; zombies and this process left out. */
export function findProcesses(mark: string): readonly FoundProcess[] {
  const found: FoundProcess[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid || !isAlive(pid)) continue
    const command = readProc(pid, 'cmdline')
    if (command.includes(mark) || readProc(pid, 'environ').includes(mark)) found.push({ pid, command })
  }
  return found
}

/** True while the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  const stat = readProc(pid, 'stat')
  // The state stands behind the name, which may itself contain spaces and parentheses.
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  return stat !== '' && state !== 'Z' && state !== 'X'
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** Rejects when marked processes are still there after `timeoutMs`. */
export async function assertNoneLeft(mark: string, timeoutMs = 2_000): Promise<void> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const left = findProcesses(mark)
    if (left.length === 0) return
    if (Date.now() > end) {
      throw new Error(
        `Processes are left:\n${left.map(({ pid, command }) => `${pid} ${command}`).join('\n')}`,
      )
    }
    await delay(20)
  }
}

/** Resolves when the process is gone. */
export async function waitForExit(pid: number, timeoutMs = 5_000): Promise<void> {
  const end = Date.now() + timeoutMs
  while (isAlive(pid)) {
    if (Date.now() > end) throw new Error(`Process ${pid} still runs after ${timeoutMs} ms.`)
    await delay(10)
  }
}

/** The variable that makes a server of the wider world recognisable as started by this test run. */
export function markedEnvironment(): Readonly<Record<string, string>> {
  return { HOLDFAST_TEST_RUN: runFolder() }
}
