import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Environment } from './interpolate.js'
import { dialectOf } from './parse.js'
import { type ConfigReading, readConfig, unusable } from './read.js'

const MAX_BYTES = 10 * 1024 * 1024

/** Reads a config file. Never rejects: what is wrong with the file is a fault like any other. */
export async function loadConfig(
  path: string,
  { env }: { readonly env: Environment },
): Promise<ConfigReading> {
  try {
    const { size } = await stat(path)
    if (size > MAX_BYTES) return unusable(`the file has ${size} bytes`, `keep it under ${MAX_BYTES} bytes`)
    const text = await readFile(path, 'utf8')
    if (text.trim() === '') return unusable('the file is empty', 'put an "mcpServers" object into it')
    return readConfig(text, { dialect: dialectOf(path), env, baseDir: dirname(path) })
  } catch (thrown) {
    return unreadable(path, thrown as NodeJS.ErrnoException)
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
