import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import {
  type ConfigReading,
  type Fault,
  type FoundConfig,
  findConfig,
  renderFaults,
} from '../config/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { ConfigFile } from './keep-up.js'
import { painter } from './terminal.js'

export interface LoadedConfig {
  readonly path: string
  readonly reading: ConfigReading
  readonly file: ConfigFile
}

function lookFor(explicit: string | undefined): FoundConfig {
  return findConfig({ explicit, env: process.env, cwd: process.cwd(), home: homedir() }, existsSync)
}

/** The config file to use; null where there is none yet. */
export function findConfigFile(explicit: string | undefined): string | null {
  return lookFor(explicit).path
}

/** The config file to use, or a message that lists where one was looked for. */
export function locateConfig(explicit: string | undefined): string {
  const found = lookFor(explicit)
  if (found.path) return found.path
  const looked = found.tried.map(path => `  ${path}`).join('\n')
  throw new CommandFailure(
    EXIT.config,
    `No config file was found. Looked for:\n${looked}\nName one with --config FILE, or make one: holdfast add NAME (URL | -- PROGRAM ARGUMENTS...)`,
  )
}

/**
 * Reads the config; ends the command when the file as a whole cannot be used.
 * @param strict ends it for a single faulty entry, too
 */
export async function openConfig(explicit: string | undefined, strict = false): Promise<LoadedConfig> {
  const path = locateConfig(explicit)
  const file = new ConfigFile(path)
  const reading = await file.read()
  const isFaulty = reading.faults.some(({ severity }) => severity === 'error')
  if (!reading.ok || (strict && isFaulty)) throw new CommandFailure(EXIT.config, explain(reading, path))
  return { path, reading, file }
}

/** All faults of a config, for a person. */
export function explain(reading: ConfigReading, path: string): string {
  return explainFaults(reading.faults, path)
}

export function explainFaults(faults: readonly Fault[], path: string): string {
  return renderFaults(faults, { path, color: painter(process.stderr)('red', '') !== '' })
}
