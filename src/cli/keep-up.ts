import type { App } from '../app.js'
import { type ConfigReading, loadConfig } from '../config/index.js'
import { watchFile } from '../host/index.js'

export interface WatchOptions {
  /** False = the config file is read at the start and on request only. */
  readonly watch?: boolean
}

/** Reads the config as the start did: variables as they are in this process. */
export function reader(path: string): () => Promise<ConfigReading> {
  return () => loadConfig(path, { env: process.env })
}

/** Takes over the config whenever its file changes. Returns the way to stop it. */
export function keepUp(app: App, path: string, { watch = true }: WatchOptions): () => void {
  if (!watch) return () => undefined
  // What came of it is in the log and in the status.
  const changed = () => void app.reload(undefined, { mayBeHalf: true }).catch(() => undefined)
  const watching = watchFile(path, changed)
  // It may have changed between its first reading and the first look of the watch.
  changed()
  return () => watching.close()
}
