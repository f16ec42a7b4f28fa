import { createRequire } from 'node:module'

/** Parsers that most configs do not need are loaded for the first one that does: they would slow down every start. */
const load = createRequire(import.meta.url)

let loadedYaml: typeof import('yaml') | null = null
let loadedToml: typeof import('smol-toml') | null = null

export function yaml(): typeof import('yaml') {
  loadedYaml ??= load('yaml') as typeof import('yaml')
  return loadedYaml
}

export function toml(): typeof import('smol-toml') {
  loadedToml ??= load('smol-toml') as typeof import('smol-toml')
  return loadedToml
}
