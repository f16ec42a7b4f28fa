import { allows } from '../core/catalog/index.js'
import type { Component, ComponentFilter, Kind, UpstreamSpec } from '../model/index.js'
import type { Connection } from './ports.js'

/** Server capability that a kind needs. */
const CAPABILITY: Readonly<Record<Kind, string>> = {
  tools: 'tools',
  prompts: 'prompts',
  resources: 'resources',
  resourceTemplates: 'resources',
}

/** The server said in its handshake that it has such a list. */
export function offers(connection: Connection, kind: Kind): boolean {
  return connection.capabilities[CAPABILITY[kind]] !== undefined
}

/** What the configuration lets through of a list. */
export function allowedOf(spec: UpstreamSpec, kind: Kind, items: readonly Component[]): Component[] {
  return items.filter(item => allows(filterOf(spec, kind), item.key))
}

/** Milliseconds for which results of that tool are kept; 0 = not at all. */
export function resultTtlOf({ cacheResults }: UpstreamSpec, tool: string): number {
  return cacheResults.find(({ pattern }) => allows({ allow: [pattern] }, tool))?.ttlMs ?? 0
}

function filterOf(spec: UpstreamSpec, kind: Kind): ComponentFilter {
  if (kind === 'tools') return spec.tools
  return kind === 'prompts' ? spec.prompts : spec.resources
}
