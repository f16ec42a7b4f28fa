import { createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import type { Bytes } from '../model/index.js'

/** A file of ours: one line that says what it is and its checksum, one line of JSON, and bytes that the JSON tells apart. */
export interface Sealed {
  readonly meta: unknown
  readonly bytes: Bytes
}

export interface Seal {
  /** The first word of the file. */
  readonly kind: string
  readonly version: number
  readonly maxBytes: number
}

/** Why a file is not used. */
export class Unsealed extends Error {
  constructor(
    message: string,
    /** Of another version, but whole. */
    readonly otherVersion = false,
  ) {
    super(message)
  }
}

const NEWLINE = 0x0a
const HEAD = /^(\S+) (\d{1,9}) ([0-9a-f]{64})$/
const LONGEST_HEAD = 200
/** Hashed in one turn; more would be felt by everybody who waits for an answer. */
const CHUNK = 1024 * 1024

/**
 * Null where there is no such file.
 * @throws Unsealed for one that is not to be trusted
 */
export function readSealed(path: string, seal: Seal): Sealed | null {
  const bytes = readPrivate(path, seal.maxBytes)
  if (bytes === null) return null
  const headEnd = bytes.subarray(0, LONGEST_HEAD).indexOf(NEWLINE)
  const [, kind, version, sum] = HEAD.exec(bytes.subarray(0, Math.max(0, headEnd)).toString('latin1')) ?? []
  if (kind !== seal.kind) throw new Unsealed('it is not what it should be')
  const body = bytes.subarray(headEnd + 1)
  // A later version may be laid out in any way, but it has this line.
  if (Number(version) !== seal.version) throw new Unsealed(`it is of version ${version}`, true)
  if (createHash('sha256').update(body).digest('hex') !== sum) throw new Unsealed('its checksum is wrong')
  const metaEnd = body.indexOf(NEWLINE)
  try {
    return {
      meta: JSON.parse(body.subarray(0, metaEnd).toString()) as unknown,
      bytes: body.subarray(metaEnd + 1),
    }
  } catch {
    throw new Unsealed('it cannot be read')
  }
}

function readPrivate(path: string, maxBytes: number): Buffer | null {
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new Unsealed(code === 'ELOOP' ? 'it is a link' : message)
  }
  try {
    const found = fstatSync(descriptor)
    const uid = process.getuid?.() ?? found.uid
    if (!found.isFile()) throw new Unsealed('it is not a plain file')
    if (found.uid !== uid) throw new Unsealed('it belongs to another user')
    if (process.platform !== 'win32' && (found.mode & 0o022) !== 0)
      throw new Unsealed('others can write to it')
    if (found.size > maxBytes) throw new Unsealed(`it is larger than ${maxBytes} bytes`)
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Writes the file, whole or not at all, readable by its owner only. */
export async function writeSealed(
  path: string,
  seal: Seal,
  meta: unknown,
  parts: readonly Bytes[],
): Promise<void> {
  const body = Buffer.concat([Buffer.from(`${JSON.stringify(meta)}\n`), ...parts])
  const head = Buffer.from(`${seal.kind} ${seal.version} ${await sumOf(body)}\n`)
  if (head.length + body.length > seal.maxBytes)
    throw new Error(`it would be larger than ${seal.maxBytes} bytes`)
  const part = `${path}.${randomBytes(8).toString('hex')}.part`
  try {
    const file = await open(part, 'wx', 0o600)
    try {
      await file.writeFile(head)
      await file.writeFile(body)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(part, path)
  } catch (thrown) {
    await rm(part, { force: true }).catch(() => undefined)
    throw thrown
  }
}

async function sumOf(body: Buffer): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < body.length; at += CHUNK) {
    hash.update(body.subarray(at, at + CHUNK))
    if (at + CHUNK < body.length) await new Promise(resolve => setImmediate(resolve))
  }
  return hash.digest('hex')
}
