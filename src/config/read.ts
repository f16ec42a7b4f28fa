import type { MisconfiguredSpec, UpstreamSpec } from '../model/index.js'
import { checkRoot, type Root } from './check-root.js'
import { variablesFrom } from './env-files.js'
import { type Fault, type GatewaySettings, type Path, pathText } from './faults.js'
import type { Environment } from './interpolate.js'
import { type Dialect, parseObject, parseText } from './parse.js'
import type { Parsed } from './parsed.js'
import { readServers } from './read-servers.js'
import type { ReferredFiles } from './referred-files.js'
import { DEFAULT_SETTINGS, settingsFrom } from './settings.js'

export interface ConfigReading {
  /** False when the file as a whole cannot be used. A faulty server alone does not make it so. */
  readonly ok: boolean
  readonly settings: GatewaySettings
  /** In file order; entries with an error are misconfigured and the others run. */
  readonly upstreams: readonly (UpstreamSpec | MisconfiguredSpec)[]
  readonly faults: readonly Fault[]
  /** The file that was read; absent for an object. */
  readonly path?: string
  /** That file and all that it refers to, as they were when they were read. */
  readonly sources?: readonly SourceFile[]
}

export interface SourceFile {
  /** Absolute. */
  readonly path: string
  /** What tells its states apart; null where nobody asked for that. */
  readonly mark: string | null
}

export interface ReadingContext {
  readonly env: Environment
  /** Relative `cwd`, commands with a slash and files that are referred to start here. */
  readonly baseDir: string
  /** What they hold. Default: none can be read. */
  readonly files?: Pick<ReferredFiles, 'of'>
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
  const env = withGatewayFile(root, parsed, context, faults)
  const upstreams = readServers(root, parsed, { ...context, env }, faults)
  const ok = !faults.some(isFatal)
  return { ok, settings: settingsFrom(root.holdfast), upstreams, faults }
}

/** What is set where the gateway runs beats what its file says, as with other programs that read one. */
function withGatewayFile(
  { holdfast }: Root,
  parsed: Parsed,
  context: ReadingContext,
  faults: Fault[],
): Environment {
  const report = (inner: Path, message: string, fix: string) => {
    const path = ['holdfast', ...inner]
    faults.push({ severity: 'error', key: pathText(path), ...parsed.locate(path), message, fix })
  }
  const values = variablesFrom(holdfast.envFile, context, report)
  return values === null ? context.env : { ...values, ...context.env }
}
