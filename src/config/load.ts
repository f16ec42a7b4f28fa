import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Environment } from './interpolate.js'
import { dialectOf } from './parse.js'
import { type ConfigReading, readConfig, readConfigObject, type SourceFile, unusable } from './read.js'
import { type FileText, MAX_REFERRED_BYTES, ReferredFiles } from './referred-files.js'

/** What is larger is no config; reading it would hold up everything else for seconds. */
export const MAX_BYTES = 4 * 1024 * 1024

export interface LoadOptions {
  readonly env: Environment
  /** Instead of the file system. Rejects as `fs.readFile` does. */
  readonly readFile?: (path: string) => Promise<Uint8Array>
  /** Tells states of a file apart; it is looked at before the file is read. */
  readonly markOf?: (path: string) => Promise<string>
}

/** Reads a config file and all that it refers to. Never rejects: what is wrong with them is a fault like any other. */
export async function loadConfig(path: string, options: LoadOptions): Promise<ConfigReading> {
  const { env, readFile: read = readSmallFile, markOf } = options
  const sources: SourceFile[] = []
  const readMarked = async (file: string) => {
    sources.push({ path: file, mark: markOf ? await markOf(file) : null })
    return read(file)
  }
  const loaded = await loadText(path, readMarked)
  const reading = 'ok' in loaded ? loaded : await readLoaded(loaded.text, path, env, readMarked)
  return { ...reading, path, sources }
}

async function readLoaded(
  text: string,
  path: string,
  env: Environment,
  read: ReadFile,
): Promise<ConfigReading> {
  if (text.trim() === '') return unusable('the file is empty', 'put an "mcpServers" object into it')
  const context = { dialect: dialectOf(path), env, baseDir: dirname(path) }
  return withReferred(files => readConfig(text, { ...context, files }), read)
}

/** The same for an object, as the library takes it; relative paths start in the working folder. */
export function loadConfigObject(value: unknown, env: Environment): Promise<ConfigReading> {
  return withReferred(files => readConfigObject(value, { env, baseDir: process.cwd(), files }))
}

type ReadFile = (path: string) => Promise<Uint8Array>

/** Files that are open at one time. */
const AT_ONCE = 32

/** Reads until everything that is referred to is known: a path may be made of what stands in another file. */
export async function withReferred<Reading>(
  make: (files: ReferredFiles) => Reading,
  read: ReadFile = readSmallFile,
): Promise<Reading> {
  const files = new ReferredFiles()
  for (;;) {
    const reading = make(files)
    const { wanted } = files
    if (wanted.length === 0) return reading
    for (let at = 0; at < wanted.length; at += AT_ONCE) {
      await Promise.all(
        wanted.slice(at, at + AT_ONCE).map(async path => files.add(path, await loadReferred(path, read))),
      )
    }
  }
}

async function loadReferred(path: string, read: ReadFile): Promise<FileText> {
  const loaded = await loadText(path, read)
  if (!('ok' in loaded)) {
    if (loaded.bytes.byteLength <= MAX_REFERRED_BYTES) return { text: loaded.text }
    const message = `${path} has ${loaded.bytes.byteLength} bytes`
    return { message, fix: `keep it under ${MAX_REFERRED_BYTES} bytes` }
  }
  const [fault] = loaded.faults
  const message = fault?.message ?? 'cannot be read'
  const fix = fault?.fix ?? 'check the path'
  return { message: message.includes(path) ? message : `${path}: ${message}`, fix }
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
      return unusable(`there is no file ${path}`, 'name a file that exists')
    case 'EISDIR':
      return unusable(`${path} is a folder`, 'name a file inside it')
    case 'EACCES':
    case 'EPERM':
      return unusable(`${path} may not be read by this user`, 'change its permissions')
    default:
      return unusable(`${path} cannot be read: ${message}`, 'check the path')
  }
}
