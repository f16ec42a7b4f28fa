import { serverChange } from '../config/index.js'
import { type EditOptions, openForEdit, requireServer, writeChanges } from './edit-config.js'
import { EXIT } from './exit.js'

/** Takes a server out of the config file. */
export async function remove(name: string, options: EditOptions): Promise<number> {
  const file = await openForEdit(options, false)
  requireServer(file, name)
  await writeChanges(file, [serverChange(file, name, undefined)], options)
  return EXIT.ok
}
