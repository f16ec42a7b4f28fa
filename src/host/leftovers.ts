import { constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../model/index.js'
import type { LedgerEntry, LedgerFile } from './ledger.js'
import { carriesInstance, factsOf, livingMembers } from './proc.js'
import { refuseForeign } from './state-folder.js'

export interface SweepOptions {
  readonly folder: string
  readonly space: string
  readonly warn: (message: string) => void
  /** Milliseconds from SIGTERM to SIGKILL. */
  readonly termMs?: number
}

/** Nothing else in the folder is touched, whatever it is. */
const OUR_NAME = /^\d+-[0-9a-f]{32}\.json(\.part|\.corrupt)?$/
const TERM_MS = 2_000
const KILL_MS = 1_000
const POLL_MS = 25
const MAX_FILE_BYTES = 1024 * 1024
/** What cannot be judged from here (another machine, another container) is litter after this long. */
const LITTER_MS = 7 * 24 * 60 * 60_000

/**
 * Ends what gateways that crashed have left behind, and removes their lists. A group is ended only if it is provably
 * theirs: its leader started at the very tick that the list says and carries that gateway's mark, or, where the leader
 * is gone and its group lives on, a member carries the mark. Everything else is left alone. Never throws.
 */
export async function sweepLeftovers(options: SweepOptions): Promise<void> {
  try {
    // Through a link, the files of others would be taken for ours.
    await refuseForeign(options.folder)
    const names = (await readdir(options.folder)).filter(name => OUR_NAME.test(name))
    await Promise.all(names.map(name => sweepFile(options, name)))
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return
    options.warn(`The lists of earlier gateways' child processes cannot be read: ${messageOf(thrown)}`)
  }
}

async function sweepFile(options: SweepOptions, name: string): Promise<void> {
  const path = join(options.folder, name)
  try {
    if (!name.endsWith('.json')) return await removeLitter(path)
    const list = parseLedger(await readPlainFile(path))
    if (!list) return await moveAside(options, path)
    if (list === 'newer' || list.space !== options.space) return await removeLitter(path)
    const gateway = factsOf(list.gateway.pid)
    if (gateway && !gateway.zombie && gateway.start === list.gateway.start) return
    if (await endGroups(options, list)) await rm(path, { force: true })
  } catch (thrown) {
    // Another gateway that starts now was quicker, or that one was just writing.
    if (codeOf(thrown) === 'ENOENT') return
    options.warn(`${path} cannot be read, so what it lists is left alone: ${messageOf(thrown)}`)
  }
}

/** The age of a file is the one thing here that the wall clock says; nothing running depends on it. */
async function removeLitter(path: string): Promise<void> {
  const { mtimeMs } = await lstat(path)
  if (Date.now() - mtimeMs > LITTER_MS) await rm(path, { force: true })
}

async function moveAside(options: SweepOptions, path: string): Promise<void> {
  await rename(path, `${path}.corrupt`)
  options.warn(`${path} is corrupt; it was moved aside, and what it listed is left alone.`)
}

/** @returns true when nothing is left */
async function endGroups(options: SweepOptions, list: LedgerFile): Promise<boolean> {
  const found = list.children.filter(entry => isLeftover(entry, list.instance))
  if (found.length === 0) return true
  const left = () => found.filter(entry => isLeftover(entry, list.instance))
  signalAll(found, 'SIGTERM')
  if (!(await none(left, options.termMs ?? TERM_MS))) {
    signalAll(left(), 'SIGKILL')
    await none(left, KILL_MS)
  }
  const rest = left()
  const what = (entries: readonly LedgerEntry[]) =>
    entries.map(({ pid, command }) => `${command} (${pid})`).join(', ')
  options.warn(
    `A gateway that crashed (${list.gateway.pid}) had left servers running; they were ended: ${what(found)}.`,
  )
  if (rest.length > 0) options.warn(`Still there after SIGKILL: ${what(rest)}.`)
  return rest.length === 0
}

function isLeftover({ pid, start }: LedgerEntry, instance: string): boolean {
  const leader = factsOf(pid)
  if (leader && leader.start !== start) return false
  if (leader && !leader.zombie) return leader.group === pid && carriesInstance(pid, instance)
  // The number of a group is not given away again while the group has a member.
  return groupExists(pid) && livingMembers(pid).some(member => carriesInstance(member, instance))
}

function groupExists(group: number): boolean {
  try {
    process.kill(-group, 0)
    return true
  } catch {
    return false
  }
}

function signalAll(entries: readonly LedgerEntry[], signal: NodeJS.Signals): void {
  for (const { pid } of entries) {
    try {
      process.kill(-pid, signal)
    } catch {
      // It ended between the look and the signal.
    }
  }
}

async function none(left: () => readonly unknown[], withinMs: number): Promise<boolean> {
  const until = performance.now() + withinMs
  while (left().length > 0) {
    if (performance.now() > until) return false
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  return true
}

/** @throws Error for links, folders, and files that are too large to be ours */
async function readPlainFile(path: string): Promise<string> {
  let file: FileHandle | null = null
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile()) throw new Error('it is not a plain file')
    if (found.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`)
    return await file.readFile('utf8')
  } finally {
    await file?.close()
  }
}

/** Null = corrupt; `newer` = written by a later version of the gateway. */
function parseLedger(text: string): LedgerFile | 'newer' | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  const list = value as Partial<LedgerFile> | null
  if (typeof list !== 'object' || list === null || typeof list.version !== 'number') return null
  if (list.version > 1) return 'newer'
  const { instance, space, gateway, children } = list
  const isWhole =
    typeof instance === 'string' &&
    /^[0-9a-f]{32}$/.test(instance) &&
    typeof space === 'string' &&
    isProcess(gateway, 1) &&
    Array.isArray(children) &&
    children.every(child => isProcess(child, 2) && typeof (child as LedgerEntry).command === 'string')
  return isWhole ? (list as LedgerFile) : null
}

/** @param lowest 2 for what will be signalled: a signal to "group" 1 goes to everybody, one to 0 to ourselves */
function isProcess(value: unknown, lowest: 1 | 2): boolean {
  const { pid, start } = (value ?? {}) as { pid?: unknown; start?: unknown }
  return Number.isSafeInteger(pid) && (pid as number) >= lowest && typeof start === 'string' && start !== ''
}

function codeOf(thrown: unknown): string | undefined {
  return (thrown as NodeJS.ErrnoException | undefined)?.code
}
