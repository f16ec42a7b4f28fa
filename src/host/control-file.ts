import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** What lets its owner act on a running gateway. */
export interface ControlFile {
  /** Address of the gateway, without a path. */
  readonly url: string
  readonly pid: number
  readonly token: string
}

/**
 * Writes the file for one listening address, whole or not at all, readable by its owner only.
 * @returns its path
 */
export function writeControlFile(folder: string, content: ControlFile): string {
  makeFolder(folder)
  const path = join(folder, fileNameFor(content.url))
  const part = `${path}.${content.pid}.part`
  // What a killed gateway left there might have other permissions.
  rmSync(part, { force: true })
  try {
    writeFileSync(part, `${JSON.stringify(content)}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(part, path)
  } catch (thrown) {
    rmSync(part, { force: true })
    throw thrown
  }
  return path
}

/** As `recursive` of mkdir, which never ends where a parent exists and takes no folders (/proc). */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(path) === path) throw thrown
    makeFolder(dirname(path))
    mkdirSync(path, { mode: 0o700 })
  }
}

/** Removes it, unless a later gateway on the same address has put its own there. */
export function removeControlFile(path: string, token: string): void {
  try {
    if (readControlFile(path)?.token === token) rmSync(path, { force: true })
  } catch {
    // One that others can write is not ours to touch.
  }
}

/**
 * The file of the gateway at `url`, by whatever name of this machine; null when there is none.
 * @throws Error for one that others than its owner can read: its token is no secret any more
 */
export function findControlFile(folder: string, url: string): ControlFile | null {
  const exact = readControlFile(join(folder, fileNameFor(url)))
  if (exact) return exact
  const { hostname, port } = new URL(url)
  if (!isLoopback(hostname)) return null
  for (const name of filesIn(folder)) {
    if (!name.startsWith('control-') || !name.endsWith(`-${portOf(url, port)}.json`)) continue
    const found = readControlFile(join(folder, name))
    if (found && isLoopback(new URL(found.url).hostname)) return found
  }
  return null
}

function filesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function fileNameFor(url: string): string {
  const { hostname, port } = new URL(url)
  return `control-${hostname.replace(/[^A-Za-z0-9.-]/g, '_')}-${portOf(url, port)}.json`
}

function portOf(url: string, port: string): string {
  return port || (url.startsWith('https:') ? '443' : '80')
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

function readControlFile(path: string): ControlFile | null {
  let descriptor: number
  try {
    descriptor = openSync(path, 'r')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw thrown
  }
  try {
    // Asked of the open file: the name may mean another one by now.
    refuseShared(path, fstatSync(descriptor))
    return parse(readFileSync(descriptor, 'utf8'))
  } finally {
    closeSync(descriptor)
  }
}

function refuseShared(path: string, { mode, uid }: { readonly mode: number; readonly uid: number }): void {
  if (process.platform === 'win32') return
  const me = process.getuid?.() ?? uid
  if ((mode & 0o077) === 0 && (uid === me || me === 0)) return
  throw new Error(
    `${path} is not private to you, so its token cannot be trusted. Restart the gateway, which writes a new one.`,
  )
}

function parse(text: string): ControlFile | null {
  try {
    const { url, pid, token } = JSON.parse(text) as Partial<ControlFile>
    const whole = typeof url === 'string' && typeof pid === 'number' && typeof token === 'string'
    return whole && URL.canParse(url) ? { url, pid, token } : null
  } catch {
    return null
  }
}
