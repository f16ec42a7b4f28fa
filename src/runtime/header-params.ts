import type { Bytes, HeaderParam } from '../model/index.js'

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const ANNOTATABLE = new Set(['string', 'integer', 'boolean'])

/**
 * The `x-mcp-header` annotations of a tool's input schema; null when they break the rules of Streamable HTTP
 * 2026-07-28: a non-empty token, unique ignoring case, only on string, integer or boolean, and reachable from the
 * root through `properties` alone.
 */
export function headerParamsOf(tool: Bytes): readonly HeaderParam[] | null {
  if (!Buffer.from(tool.buffer, tool.byteOffset, tool.length).includes('x-mcp-header')) return []
  const schema = (JSON.parse(Buffer.from(tool).toString()) as { inputSchema?: unknown }).inputSchema
  const found: HeaderParam[] = []
  const reached = collect(schema, [], found)
  if (!reached || reached !== countAnnotations(schema)) return null
  const names = new Set(found.map(param => param.header.toLowerCase()))
  return names.size === found.length ? found : null
}

/** Number of annotations found along `properties`; 0 as soon as one is invalid. */
function collect(schema: unknown, path: readonly string[], found: HeaderParam[]): number {
  if (!isRecord(schema) || !isRecord(schema['properties'])) return 0
  let count = 0
  for (const [key, property] of Object.entries(schema['properties'])) {
    if (!isRecord(property)) continue
    const header = property['x-mcp-header']
    if (header !== undefined) {
      const type = property['type']
      if (typeof header !== 'string' || !TOKEN.test(header)) return 0
      if (typeof type !== 'string' || !ANNOTATABLE.has(type)) return 0
      found.push({ path: [...path, key], header })
      count += 1
    }
    count += collect(property, [...path, key], found)
  }
  return count
}

/** Annotations anywhere, except those that are merely a property of that name. */
function countAnnotations(node: unknown, isProperties = false): number {
  if (Array.isArray(node)) return node.reduce<number>((sum, item) => sum + countAnnotations(item), 0)
  if (!isRecord(node)) return 0
  let count = 0
  for (const [key, value] of Object.entries(node)) {
    if (key === 'x-mcp-header' && !isProperties) count += 1
    else count += countAnnotations(value, key === 'properties' && !isProperties)
  }
  return count
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
