import { switchChanges } from '../config/index.js'
import type { ActOptions } from './act.js'
import { openForEdit, requireServer, writeChanges } from './edit-config.js'
import { EXIT } from './exit.js'
import { gatewayBase, readControl } from './remote.js'
import { say } from './talk.js'

export interface SwitchOptions extends ActOptions {
  /** Into the config file too. */
  readonly save?: boolean
}

/** Writes into the config whether a server is enabled, then does the same to the gateway, where one runs. */
export async function saveSwitch(
  name: string,
  enabled: boolean,
  options: SwitchOptions,
  act: () => Promise<number>,
): Promise<number> {
  const file = await openForEdit(options, false)
  requireServer(file, name)
  const changes = switchChanges(file, name, enabled)
  // With --json the status alone is data.
  const { json = false, quiet = false } = options
  if (changes.length > 0) await writeChanges(file, changes, { quiet: quiet || json })
  else if (!quiet) say(`${file.path} has it ${enabled ? 'enabled' : 'disabled'} already.`)
  const base = await gatewayBase(options)
  if (await readControl(base, '/healthz')) return act()
  if (!quiet) say(`No gateway answers at ${base}; the next one that starts reads it.`)
  return EXIT.ok
}
