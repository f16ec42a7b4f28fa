import type { MisconfiguredSpec, UpstreamSpec } from '../model/index.js'
import { checkRoot } from './check-root.js'
import type { Fault, GatewaySettings } from './faults.js'
import type { Environment } from './interpolate.js'
import { type Dialect, parseObject, parseText } from './parse.js'
import type { Parsed } from './parsed.js'
import { readServers } from './read-servers.js'
import { DEFAULT_SETTINGS, settingsFrom } from './settings.js'

export interface ConfigReading {
  /** False when the file as a whole cannot be used. A faulty server alone does not make it so. */
  readonly ok: boolean
  readonly settings: GatewaySettings
  /** In file order; entries with an error are misconfigured and the others run. */
  readonly upstreams: readonly (UpstreamSpec | MisconfiguredSpec)[]
  readonly faults: readonly Fault[]
}

export interface ReadingContext {
  readonly env: Environment
  /** Relative `cwd` and commands with a slash start here. */
  readonly baseDir: string
}

/** Reads a config text. */
export function readConfig(
  text: string,
  context: ReadingContext & { readonly dialect: Dialect },
): ConfigReading {
  return readParsed(parseText(text, context.dialect), context)
}

/** The same for an object, as the library takes it; faults have no line. */
export function readConfigObject(value: unknown, context: ReadingContext): ConfigReading {
  return readParsed(parseObject(value), context)
}

/** A file that could not even be read. */
export function unusable(message: string, fix: string): ConfigReading {
  return {
    ok: false,
    settings: DEFAULT_SETTINGS,
    upstreams: [],
    faults: [{ severity: 'error', key: '', message, fix }],
  }
}

export function isMisconfigured(spec: UpstreamSpec | MisconfiguredSpec): spec is MisconfiguredSpec {
  return 'problem' in spec
}

function readParsed(parsed: Parsed, context: ReadingContext): ConfigReading {
  const faults: Fault[] = [...parsed.faults]
  const isUnparsable = parsed.value === undefined && faults.length > 0
  const root = isUnparsable ? null : checkRoot(parsed, faults)
  const isFatal = (fault: Fault) => fault.severity === 'error' && fault.server === undefined
  if (!root) return { ok: false, settings: DEFAULT_SETTINGS, upstreams: [], faults }
  const upstreams = readServers(root, parsed, context, faults)
  const ok = !faults.some(isFatal)
  return { ok, settings: settingsFrom(root.holdfast), upstreams, faults }
}
