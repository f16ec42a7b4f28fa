import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Environment } from './interpolate.js'
import { dialectOf } from './parse.js'
import { type ConfigReading, readConfig, unusable } from './read.js'

/** What is larger is no config; reading it would hold up everything else for seconds. */
export const MAX_BYTES = 4 * 1024 * 1024

export interface LoadOptions {
  readonly env: Environment
  /** Instead of the file system. Rejects as `fs.readFile` does. */
  readonly readFile?: (path: string) => Promise<Uint8Array>
}

/** Reads a config file. Never rejects: what is wrong with the file is a fault like any other. */
export async function loadConfig(
  path: string,
  { env, readFile: read = readSmallFile }: LoadOptions,
): Promise<ConfigReading> {
  const loaded = await loadText(path, read)
  if ('ok' in loaded) return loaded
  if (loaded.text.trim() === '') return unusable('the file is empty', 'put an "mcpServers" object into it')
  return readConfig(loaded.text, { dialect: dialectOf(path), env, baseDir: dirname(path) })
}

export interface LoadedText {
  readonly bytes: Uint8Array
  readonly text: string
}

/** The text of a config file, or the reading that says why there is none. */
export async function loadText(
  path: string,
  read: (path: string) => Promise<Uint8Array> = readSmallFile,
): Promise<LoadedText | ConfigReading> {
  let bytes: Uint8Array
  try {
    bytes = await read(path)
  } catch (thrown) {
    if (thrown instanceof TooLarge) return tooLarge(thrown.size)
    return unreadable(path, thrown as NodeJS.ErrnoException)
  }
  if (bytes.byteLength > MAX_BYTES) return tooLarge(bytes.byteLength)
  const text = decode(bytes)
  return text === null ? unusable('the file is not UTF-8 text', 'save it as UTF-8') : { bytes, text }
}

class TooLarge extends Error {
  constructor(readonly size: number) {
    super(`${size} bytes`)
  }
}

/** Asks for the size first: a file of gigabytes must not be read to be refused. */
async function readSmallFile(path: string): Promise<Uint8Array> {
  const { size } = await stat(path)
  if (size > MAX_BYTES) throw new TooLarge(size)
  return readFile(path)
}

function tooLarge(size: number): ConfigReading {
  return unusable(`the file has ${size} bytes`, `keep it under ${MAX_BYTES} bytes`)
}

function decode(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

function unreadable(path: string, { code, message }: NodeJS.ErrnoException): ConfigReading {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return unusable(`there is no file ${path}`, 'name an existing file with --config')
    case 'EISDIR':
      return unusable(`${path} is a folder`, 'name a file inside it')
    case 'EACCES':
    case 'EPERM':
      return unusable(`${path} may not be read by this user`, 'change its permissions')
    default:
      return unusable(`${path} cannot be read: ${message}`, 'check the path')
  }
}
