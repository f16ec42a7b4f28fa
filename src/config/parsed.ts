import { type Fault, type Path, pathText } from './faults.js'

export interface Position {
  readonly line: number
  readonly column: number
}

/** A config text as plain data, with the place of each key. Objects have no prototype. */
export interface Parsed {
  /** Undefined, with a fault, when the text is not of its dialect at all. */
  readonly value: unknown
  readonly faults: readonly Fault[]
  locate(path: Path): Position | undefined
  /** The keys in the order of the text, which JavaScript loses for keys such as "10"; undefined = not known. */
  keysOf(path: Path): readonly string[] | undefined
}

/** A text that is not of its dialect. */
export function unparsable(faults: readonly Fault[]): Parsed {
  return { value: undefined, faults, locate: () => undefined, keysOf: () => undefined }
}

export function syntaxFault(message: string, position?: Position, fix = FIX_SYNTAX): Fault {
  return { severity: 'error', key: '', ...position, message, fix }
}

const FIX_SYNTAX = 'correct the syntax at this place'

/** A key that stands twice in one object. Inside an entry it concerns that server alone. */
export function duplicateFault(path: Path, position: Position | undefined): Fault {
  const [root, server] = path
  const named = (root === 'mcpServers' || root === 'servers') && typeof server === 'string'
  const isServer = named && path.length === 2
  const key = JSON.stringify(path.at(-1))
  return {
    severity: 'error',
    ...(named ? { server } : {}),
    key: pathText(path),
    ...position,
    message: isServer ? `two servers are named ${key}` : `the key ${key} stands here twice`,
    fix: isServer ? 'rename or remove one of them' : 'remove one of the two',
  }
}

/** Names such as `__proto__` must be keys like any other. */
export function withoutPrototypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPrototypes)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  const object: Record<string, unknown> = Object.create(null)
  for (const key of Object.keys(value))
    object[key] = withoutPrototypes((value as Record<string, unknown>)[key])
  return object
}
