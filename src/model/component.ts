import type { Bytes } from './bytes.js'

/** The four kinds of things that an upstream offers. */
export type Kind = 'tools' | 'resources' | 'resourceTemplates' | 'prompts'

export const KINDS: readonly Kind[] = ['tools', 'resources', 'resourceTemplates', 'prompts']

/** The list method of each kind and the member of its result that holds the items. */
export const LIST_METHOD: Readonly<Record<Kind, string>> = {
  tools: 'tools/list',
  resources: 'resources/list',
  resourceTemplates: 'resources/templates/list',
  prompts: 'prompts/list',
}

/** One tool, resource, template or prompt exactly as its upstream described it. */
export interface Component {
  readonly kind: Kind
  /** Native identity: `name` of a tool or prompt, `uri` of a resource, `uriTemplate` of a template. */
  readonly key: string
  /** The raw JSON object. */
  readonly bytes: Bytes
  /**
   * Tools only: `x-mcp-header` annotations of the input schema, as path from the root of `arguments`
   * to header suffix (Streamable HTTP 2026-07-28, "Mcp-Param").
   */
  readonly headerParams?: readonly HeaderParam[]
  /** It keeps its name, but is not listed and not called before a person has approved it. Absent = it may be used. */
  readonly held?: HeldBecause
}

/** It is not what it was, or it came after its server had been seen. */
export type HeldBecause = 'changed' | 'new'

export interface HeaderParam {
  readonly path: readonly string[]
  /** The `X` of `Mcp-Param-X`, as written in the schema. */
  readonly header: string
}

/**
 * What is known of one kind at one upstream.
 * `unknown` = never fetched; `absent` = the upstream does not offer this kind; `failed` = its list could not be had.
 */
export type KindCatalog =
  | { readonly state: 'unknown' }
  | { readonly state: 'absent' }
  | FetchedKind
  | { readonly state: 'failed'; readonly reason: string; readonly items: readonly Component[] }

/** `stale`: it was had over a connection that is no more. */
export interface FetchedKind {
  readonly state: 'live' | 'stale'
  readonly items: readonly Component[]
  /** Wall-clock ms. */
  readonly fetchedAt: number
  /** Monotonic ms from which on it counts as old. Absent = it does already. */
  readonly freshUntil?: number
  /** `public`: the server says that everybody may see it. Absent = it says nothing. */
  readonly cacheScope?: CacheScope
}

/** Who may be shown what is cached (2026-07-28, caching). */
export type CacheScope = 'public' | 'private'

/** What is known to be offered, be it old. */
export function itemsIn(catalog: KindCatalog): readonly Component[] {
  return 'items' in catalog ? catalog.items : NONE
}

const NONE: readonly Component[] = Object.freeze([])

/** What of it may be used. */
export function usableIn(catalog: KindCatalog): readonly Component[] {
  return itemsIn(catalog).filter(component => component.held === undefined)
}

export type UpstreamCatalog = Readonly<Record<Kind, KindCatalog>>

export const EMPTY_CATALOG: UpstreamCatalog = {
  tools: { state: 'unknown' },
  resources: { state: 'unknown' },
  resourceTemplates: { state: 'unknown' },
  prompts: { state: 'unknown' },
}
