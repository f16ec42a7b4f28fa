import { createRequire } from 'node:module'

/** Parsers that most configs do not need are loaded for the first one that does: they would slow down every start. */
function lazily<Package>(name: string): () => Package {
  const load = createRequire(import.meta.url)
  let loaded: Package | null = null
  return () => {
    loaded ??= load(name) as Package
    return loaded
  }
}

export const yaml = lazily<typeof import('yaml')>('yaml')
export const toml = lazily<typeof import('smol-toml')>('smol-toml')
