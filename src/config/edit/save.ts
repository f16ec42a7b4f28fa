import { randomUUID } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { access, link, lstat, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Why a file was not written; nothing was changed. */
export class NotSaved extends Error {}

export interface Saved {
  /** The file itself, where `path` was a link to it. */
  readonly target: string
  /** What the file was before; null for a new one. */
  readonly backup: string | null
}

/**
 * Writes a config whole or not at all: into a file beside it, which then takes its place. A link stays a link; mode and
 * owner stay.
 * @param before what was read; null = there was no file
 * @throws NotSaved
 */
export async function saveText(path: string, before: Uint8Array | null, after: string): Promise<Saved> {
  try {
    return before === null ? await createFile(path, after) : await replaceFile(path, before, after)
  } catch (thrown) {
    if (thrown instanceof NotSaved) throw thrown
    throw new NotSaved(said(path, thrown as NodeJS.ErrnoException))
  }
}

/** Secrets may be written into it, so it is for its owner alone. */
async function createFile(path: string, text: string): Promise<Saved> {
  if (await lstat(path).catch(() => null))
    throw new NotSaved(`${path} has appeared meanwhile; look at it and try again`)
  const part = await writeBeside(path, text, null)
  try {
    // Unlike a rename, a link never replaces what somebody else has made in between.
    await link(part, path)
  } finally {
    await rm(part, { force: true })
  }
  return { target: path, backup: null }
}

async function replaceFile(path: string, before: Uint8Array, after: string): Promise<Saved> {
  const target = await realpath(path)
  // A rename would pass over it.
  await access(target, constants.W_OK)
  const old = await stat(target)
  const backup = `${target}.bak`
  const parts: string[] = []
  try {
    parts.push(await writeBeside(backup, before, old))
    parts.push(await writeBeside(target, after, old))
    const [copy = '', part = ''] = parts
    if (!Buffer.from(before).equals(await readFile(target)))
      throw new NotSaved(`${path} has changed meanwhile; look at it and try again`)
    await rename(copy, backup)
    await rename(part, target)
  } finally {
    for (const part of parts) await rm(part, { force: true })
  }
  return { target, backup }
}

async function writeBeside(path: string, data: string | Uint8Array, like: Stats | null): Promise<string> {
  const part = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`)
  const handle = await open(part, 'wx', 0o600)
  try {
    await handle.writeFile(data)
    if (like) {
      const own = await handle.stat()
      if (own.uid !== like.uid || own.gid !== like.gid) await handle.chown(like.uid, like.gid)
      await handle.chmod(like.mode & 0o7777)
    }
    await handle.sync()
  } catch (thrown) {
    await rm(part, { force: true })
    throw thrown
  } finally {
    await handle.close()
  }
  return part
}

function said(path: string, { code, syscall, message }: NodeJS.ErrnoException): string {
  if (code === 'EPERM' && syscall === 'fchown')
    return `${path} belongs to somebody else, and only they can replace it without changing its owner`
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `${path} may not be written by this user; change the permissions of the file and its folder`
    case 'ENOENT':
    case 'ENOTDIR':
      return `the folder ${dirname(path)} does not exist, or ${path} was removed meanwhile`
    case 'EEXIST':
      return `${path} has appeared meanwhile; look at it and try again`
    case 'ENOSPC':
      return `there is no space left to write ${path}`
    default:
      return `${path} cannot be written: ${message}`
  }
}
