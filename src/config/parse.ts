import { parseJson } from './parse-json.js'
import { parseToml } from './parse-toml.js'
import { parseYaml } from './parse-yaml.js'
import { type Parsed, syntaxFault, unparsable, withoutPrototypes } from './parsed.js'

export type Dialect = 'json' | 'yaml' | 'toml'

const PARSERS: Readonly<Record<Dialect, (text: string) => Parsed>> = {
  json: parseJson,
  yaml: parseYaml,
  toml: parseToml,
}

export function dialectOf(path: string): Dialect {
  if (/\.ya?ml$/i.test(path)) return 'yaml'
  return /\.toml$/i.test(path) ? 'toml' : 'json'
}

export function parseText(text: string, dialect: Dialect): Parsed {
  // Editors on Windows put a byte order mark in front, which no one sees.
  return refuseDepth(() => PARSERS[dialect](text.replace(/^\uFEFF/, '')))
}

/** An object of the caller, with the same promises as a parsed text; it has no places. */
export function parseObject(value: unknown): Parsed {
  return refuseDepth(() => ({
    value: withoutPrototypes(value),
    faults: [],
    locate: () => undefined,
    keysOf: () => undefined,
  }))
}

/** Walks are recursive: what is nested without end, or in itself, runs out of stack instead of memory. */
function refuseDepth(parse: () => Parsed): Parsed {
  try {
    return parse()
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return unparsable([syntaxFault('is nested too deeply, or in itself', undefined, 'make it flatter')])
  }
}
