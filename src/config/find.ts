import { join, resolve } from 'node:path'
import type { Environment } from './interpolate.js'

const EXTENSIONS = ['json', 'jsonc', 'yaml', 'yml', 'toml']

export interface FoundConfig {
  /** Absolute; null when there is none. A path that was named outright is taken as it is, existing or not. */
  readonly path: string | null
  /** Where it was looked for, in order. */
  readonly tried: readonly string[]
}

/** `--config`, `HOLDFAST_CONFIG`, `./holdfast.*`, `./.mcp.json`, the user's config folder. */
export function findConfig(
  where: {
    readonly explicit?: string | undefined
    readonly env: Environment
    readonly cwd: string
    readonly home: string
  },
  exists: (path: string) => boolean,
): FoundConfig {
  const named = where.explicit ?? (where.env['HOLDFAST_CONFIG'] || undefined)
  if (named !== undefined) return { path: resolve(where.cwd, named), tried: [resolve(where.cwd, named)] }
  const folder = join(where.env['XDG_CONFIG_HOME'] || join(where.home, '.config'), 'holdfast')
  const tried = [
    ...EXTENSIONS.map(extension => join(where.cwd, `holdfast.${extension}`)),
    join(where.cwd, '.mcp.json'),
    ...EXTENSIONS.map(extension => join(folder, `holdfast.${extension}`)),
  ]
  return { path: tried.find(exists) ?? null, tried }
}
