import type { ReloadResult } from './reload-result.js'

/** Tells of each configuration that was taken over or refused. */
export class ConfigFeed {
  readonly #listeners = new Set<(result: ReloadResult) => void>()

  listen(listener: (result: ReloadResult) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(result: ReloadResult): void {
    for (const listener of [...this.#listeners]) listener(result)
  }
}
