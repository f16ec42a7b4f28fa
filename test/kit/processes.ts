import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { runFolder } from './run-folder.js'
import { PATIENCE_MS } from './until.js'

export interface FoundProcess {
  readonly pid: number
  readonly command: string
}

/** Live processes whose command line or environment contains `mark`; zombies and this process left out. */
export function findProcesses(mark: string): readonly FoundProcess[] {
  const found: FoundProcess[] = []
  for (const pid of allPids()) {
    if (pid === process.pid || !isAlive(pid)) continue
    const command = readProc(pid, 'cmdline')
    if (command.includes(mark) || readProc(pid, 'environ').includes(mark)) found.push({ pid, command })
  }
  return found
}

/** True while the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  const { state } = statOf(pid)
  return state !== '' && state !== 'Z' && state !== 'X'
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** Rejects when marked processes are still there after `timeoutMs`. */
export async function assertNoneLeft(mark: string, timeoutMs = PATIENCE_MS): Promise<void> {
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
export async function waitForExit(pid: number, timeoutMs = PATIENCE_MS): Promise<void> {
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

// ---- faults ----------------------------------------------------------------------------------------------

/** SIGKILL, and then until it is gone. */
export async function killHard(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await waitForExit(pid)
}

/** SIGSTOP, and then until it stands still: it reads and writes nothing, but its pipes stay open. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await waitForStop(pid, true)
}

/** SIGCONT, and then until it runs again. */
export async function thaw(pid: number): Promise<void> {
  process.kill(pid, 'SIGCONT')
  await waitForStop(pid, false)
}

async function waitForStop(pid: number, wanted: boolean): Promise<void> {
  const end = Date.now() + 2_000
  while ((statOf(pid).state === 'T') !== wanted) {
    if (Date.now() > end) throw new Error(`Process ${pid} is in state ${statOf(pid).state || 'gone'}.`)
    await delay(5)
  }
}

// ---- what a process holds --------------------------------------------------------------------------------

/** Its living children, and theirs, in no order. */
export function descendantsOf(pid: number): readonly number[] {
  const parents = new Map(allPids().map(each => [each, statOf(each)] as const))
  const found: number[] = []
  for (const queue = [pid]; queue.length > 0; ) {
    const parent = queue.pop()
    for (const [child, stat] of parents) {
      if (stat.parent !== parent || stat.state === 'Z' || stat.state === 'X') continue
      found.push(child)
      queue.push(child)
    }
  }
  return found
}

/** Its living children. */
export function childrenOf(pid: number): readonly number[] {
  return allPids().filter(each => statOf(each).parent === pid && isAlive(each))
}

/** What each of its descriptors points to, such as `socket:[4711]`. */
export function descriptorsOf(pid: number): readonly string[] {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).flatMap(name => {
    try {
      return [readlinkSync(`${folder}/${name}`)]
    } catch {
      // Closed since the folder was read.
      return []
    }
  })
}

/** How many connections it has to that port of this machine. */
export function connectionsTo(pid: number, port: number): number {
  const own = new Set(descriptorsOf(pid))
  const [, ...rows] = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n')
  return rows.filter(row => {
    const [, , remote = '', , , , , , , inode = ''] = row.trim().split(/\s+/)
    return Number.parseInt(remote.split(':')[1] ?? '', 16) === port && own.has(`socket:[${inode}]`)
  }).length
}

/** How many files and folders it lets the system watch. */
export function watchesOf(pid: number): number {
  const folder = `/proc/${pid}/fdinfo`
  return readdirSync(folder)
    .map(name => readProc(pid, `fdinfo/${name}`).split('inotify wd:').length - 1)
    .reduce((sum, n) => sum + n, 0)
}

/** Bytes of memory that it holds now. */
export function residentBytes(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readProc(pid, 'status'))?.[1]
  if (kilobytes === undefined) throw new Error(`Process ${pid} is gone.`)
  return Number(kilobytes) * 1024
}

/** Live processes that were started with that variable, whatever their command line says. */
export function findByEnvironment(name: string, value: string): readonly number[] {
  const wanted = `${name}=${value}`
  return allPids().filter(pid => isAlive(pid) && environmentOf(pid).includes(wanted))
}

function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function allPids(): readonly number[] {
  return readdirSync('/proc').flatMap(entry => (/^\d+$/.test(entry) ? [Number(entry)] : []))
}

/** The state is empty for a process that is gone. */
function statOf(pid: number): { readonly state: string; readonly parent: number } {
  const stat = readProc(pid, 'stat')
  // Both stand behind the name, which may itself contain spaces and parentheses.
  const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { state, parent: Number(parent) }
}
