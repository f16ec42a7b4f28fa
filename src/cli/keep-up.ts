import type { App } from '../app.js'
import { type ConfigReading, loadConfig, type SourceFile } from '../config/index.js'
import { type FileWatch, markOf, watchFiles } from '../host/index.js'

export interface WatchOptions {
  /** False = the config is read at the start and on request only. */
  readonly watch?: boolean
}

/** The config file of a gateway, with all that it refers to. */
export class ConfigFile {
  #watching: FileWatch | null = null
  #sources: readonly SourceFile[] = []

  constructor(readonly path: string) {}

  /** Variables are as they are in this process. What was read counts as known, unless it was read as a trial. */
  readonly read = async ({ dryRun = false }: { readonly dryRun?: boolean } = {}): Promise<ConfigReading> => {
    const reading = await loadConfig(this.path, { env: process.env, markOf })
    if (!dryRun) this.#follow(reading)
    return reading
  }

  /** Tells of each change after the last reading. */
  watch(changed: () => void): () => void {
    const watching = watchFiles(this.#sources, changed)
    this.#watching = watching
    return () => watching.close()
  }

  #follow({ ok, sources = [] }: ConfigReading): void {
    const read = new Set(sources.map(({ path }) => path))
    // What a file that cannot be used refers to is not known; it may be the change of another one that mends it.
    const others = ok ? [] : this.#sources.filter(({ path }) => !read.has(path))
    this.#sources = [...sources, ...others]
    this.#watching?.follow(this.#sources)
  }
}

/** Takes over the config as it is now. What came of it is in the log and in the status. */
export function takeOver(app: App): void {
  void app.reload(undefined, { mayBeHalf: true }).catch(() => undefined)
}

/** Takes over the config whenever one of its files changes. Returns the way to stop it. */
export function keepUp(app: App, file: ConfigFile, { watch = true }: WatchOptions): () => void {
  return watch ? file.watch(() => takeOver(app)) : () => undefined
}
