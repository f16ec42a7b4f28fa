import { removeControlFile, requireStateFolder, writeControlFile } from '../host/index.js'
import { messageOf } from '../model/index.js'
import type { Log } from '../observe/index.js'
import type { Listener } from '../server.js'

/**
 * Puts the control token where the owner's command line finds it. A gateway that cannot write there still serves.
 * @returns the way to take it back
 */
export function publishToken(
  { url }: Listener,
  token: string,
  { log, stateFolder: folder }: { readonly log: Log; readonly stateFolder?: string },
): () => void {
  try {
    const path = writeControlFile(folder ?? requireStateFolder(), { url, pid: process.pid, token })
    return () => removeControlFile(path, token)
  } catch (thrown) {
    const cause = messageOf(thrown)
    const fix = 'set HOLDFAST_STATE_DIR to a folder that can be written'
    log({
      level: 'warn',
      message: `restart, test and their like cannot be used from outside: ${cause}; ${fix}`,
    })
    return () => undefined
  }
}
