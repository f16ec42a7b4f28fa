import type { Fault } from '../faults.js'
import { loadText } from '../load.js'
import { type Dialect, dialectOf, parseText } from '../parse.js'
import { isObject } from '../types.js'
import type { Change } from './change.js'

/** A config file as a text that can be changed. */
export interface ConfigText {
  readonly path: string
  /** As read; null = there is no such file yet. */
  readonly bytes: Uint8Array | null
  readonly text: string
  readonly dialect: Dialect
  readonly serversKey: 'mcpServers' | 'servers'
  /** The entries by name, unchecked. */
  readonly servers: Readonly<Record<string, unknown>>
}

/** Opens a file to change it; what makes that impossible are its faults. */
export async function openText(path: string, isNew: boolean): Promise<ConfigText | readonly Fault[]> {
  const loaded = isNew ? { bytes: null, text: '' } : await loadText(path)
  if ('ok' in loaded) return loaded.faults
  const dialect = dialectOf(path)
  const isBlank = loaded.text.trim() === ''
  const { value, faults } = isBlank ? { value: {}, faults: [] } : parseText(loaded.text, dialect)
  // Of a key that stands twice nobody knows which one is meant.
  const [fault] = faults
  if (fault) return faults
  const root = value ?? {}
  if (!isObject(root)) return [wrongShape('', 'the root must be an object')]
  const serversKey =
    root['servers'] !== undefined && root['mcpServers'] === undefined ? 'servers' : 'mcpServers'
  const servers = root[serversKey] ?? {}
  if (!isObject(servers)) return [wrongShape(serversKey, 'must be an object of servers')]
  return { path, ...loaded, dialect, serversKey, servers }
}

function wrongShape(key: string, message: string): Fault {
  return { severity: 'error', key, message, fix: 'write { "mcpServers": { ... } }' }
}

/** Adds a server, or takes one away. */
export function serverChange(file: ConfigText, name: string, entry: unknown): Change {
  return { path: [file.serversKey, name], value: entry }
}

/** What makes a server enabled or not, in the words that its entry uses already; nothing where it is so already. */
export function switchChanges(file: ConfigText, name: string, enabled: boolean): readonly Change[] {
  const base = [file.serversKey, name]
  const entry = file.servers[name]
  const words = isObject(entry) ? entry : {}
  const ours = isObject(words['holdfast']) ? words['holdfast']['enabled'] : undefined
  // Ours beats the words of other clients.
  if (ours !== undefined)
    return ours === enabled ? [] : [{ path: [...base, 'holdfast', 'enabled'], value: enabled }]
  const changes: Change[] = []
  for (const [key, wanted] of [
    ['enabled', enabled],
    ['disabled', !enabled],
  ] as const) {
    if (words[key] !== undefined && words[key] !== wanted)
      changes.push({ path: [...base, key], value: wanted })
  }
  const isSaid = words['enabled'] !== undefined || words['disabled'] !== undefined
  if (isSaid || enabled) return changes
  return [{ path: [...base, 'holdfast', 'enabled'], value: false }]
}
