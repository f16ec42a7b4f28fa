import type { Stats } from 'node:fs'
import { chmod, lstat, mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'

/**
 * Where the gateway keeps what must outlive it: HOLDFAST_STATE_DIR, else the user's state folder; null where the machine
 * knows no home.
 */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string | null {
  const named = env['HOLDFAST_STATE_DIR']
  if (named) return resolve(named)
  const base = env['XDG_STATE_HOME']
  // The XDG specification wants relative paths ignored.
  if (base && isAbsolute(base)) return join(base, 'holdfast')
  const home = env['HOME'] || homeFolder()
  return home === null ? null : join(home, '.local', 'state', 'holdfast')
}

/** @throws Error where there is none */
export function requireStateFolder(): string {
  const folder = stateFolder()
  if (folder === null) throw new Error('this machine knows no home folder; set HOLDFAST_STATE_DIR')
  return folder
}

function homeFolder(): string | null {
  try {
    return homedir()
  } catch {
    return null
  }
}

/**
 * Makes a folder that only its owner can look into.
 * @throws Error when it cannot be made, is a link, or is somebody else's
 */
export async function makePrivateFolder(path: string): Promise<void> {
  await makeFolder(path)
  const { mode } = await refuseForeign(path)
  if ((mode & 0o077) !== 0) await chmod(path, 0o700)
}

/** Node's own way of making parents never returns where one cannot be made and does not say that it exists. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(path) === path) throw thrown
    await makeFolder(dirname(path))
    await mkdir(path, { mode: 0o700 })
  }
}

/** @throws Error when the path is no folder, is a link to one, or is somebody else's */
export async function refuseForeign(path: string): Promise<Stats> {
  const found = await lstat(path)
  if (!found.isDirectory()) throw new Error(`${path} is not a folder of its own`)
  const uid = process.getuid?.()
  if (uid !== undefined && found.uid !== uid) throw new Error(`${path} belongs to another user`)
  return found
}
