import { explainIssues } from './explain.js'
import { type Fault, type Path, pathText } from './faults.js'
import { judgeRootKey } from './foreign-keys.js'
import type { Parsed } from './parsed.js'
import { type HoldfastOptions, holdfastSchema } from './schema.js'
import { isObject, typeName } from './types.js'

export interface Root {
  /** `mcpServers`, or `servers` as VS Code calls it. */
  readonly serversKey: 'mcpServers' | 'servers'
  readonly servers: Readonly<Record<string, unknown>>
  readonly holdfast: HoldfastOptions
}

/** Checks everything above the entries; null when there is nothing to go on with. */
export function checkRoot(parsed: Parsed, faults: Fault[]): Root | null {
  const report = (path: Path, message: string, fix: string, severity: Fault['severity'] = 'error') =>
    faults.push({ severity, key: pathText(path), ...parsed.locate(path), message, fix })
  const root = parsed.value
  if (!isObject(root)) {
    report([], `the root must be an object, not ${typeName(root)}`, 'write { "mcpServers": { ... } }')
    return null
  }
  for (const key of Object.keys(root)) {
    const finding = judgeRootKey(key)
    if (finding) report([key], finding.message, finding.fix, finding.severity)
  }
  const holdfast = checkHoldfast(root['holdfast'], parsed, faults)
  const both = root['mcpServers'] !== undefined && root['servers'] !== undefined
  if (both)
    report(['servers'], 'stands beside "mcpServers"; only one of the two can be meant', 'merge them into one')
  const serversKey =
    root['mcpServers'] === undefined && root['servers'] !== undefined ? 'servers' : 'mcpServers'
  const servers = root[serversKey]
  if (servers === undefined) {
    report([], 'there is no "mcpServers" object', 'add "mcpServers": { "name": { "command": "..." } }')
    return null
  }
  if (!isObject(servers)) {
    report(
      [serversKey],
      `must be an object of servers, not ${typeName(servers)}`,
      'write { "name": { ... } }',
    )
    return null
  }
  return { serversKey, servers, holdfast }
}

function checkHoldfast(value: unknown, parsed: Parsed, faults: Fault[]): HoldfastOptions {
  if (value === undefined) return {}
  const result = holdfastSchema.safeParse(value)
  if (result.success) return result.data
  faults.push(...explainIssues(result.error.issues, { base: ['holdfast'], value, locate: parsed.locate }))
  return {}
}
