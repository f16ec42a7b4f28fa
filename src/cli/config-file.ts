import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { type ConfigReading, findConfig, loadConfig, renderFaults } from '../config/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { painter } from './terminal.js'

export interface LoadedConfig {
  readonly path: string
  readonly reading: ConfigReading
}

/** The config file to use, or a message that lists where one was looked for. */
export function locateConfig(explicit: string | undefined): string {
  const found = findConfig({ explicit, env: process.env, cwd: process.cwd(), home: homedir() }, existsSync)
  if (found.path) return found.path
  const looked = found.tried.map(path => `  ${path}`).join('\n')
  throw new CommandFailure(
    EXIT.config,
    `No config file was found. Looked for:\n${looked}\nName one with --config FILE, or make ./holdfast.json with an "mcpServers" object.`,
  )
}

/** Reads the config; ends the command when the file as a whole cannot be used. */
export async function openConfig(explicit: string | undefined): Promise<LoadedConfig> {
  const path = locateConfig(explicit)
  const reading = await loadConfig(path, { env: process.env })
  if (!reading.ok) throw new CommandFailure(EXIT.config, explain(reading, path))
  return { path, reading }
}

/** All faults of a config, for a person. */
export function explain(reading: ConfigReading, path: string): string {
  return renderFaults(reading.faults, { path, color: painter(process.stderr)('red', '') !== '' })
}
