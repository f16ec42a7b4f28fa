import type { CatalogEntry, Kind } from '../../model/index.js'

/** What a request is about, under the name that the client used. */
export type Target =
  | { readonly kind: 'tool'; readonly name: string }
  | { readonly kind: 'prompt'; readonly name: string }
  | { readonly kind: 'resource'; readonly uri: string }
  | { readonly kind: 'ref-prompt'; readonly name: string }
  | { readonly kind: 'ref-resource'; readonly uri: string }
  /** A method that names nothing, where there is only one server to ask. */
  | { readonly kind: 'server' }

export interface Candidate {
  readonly upstream: string
  /** The server's own name or URI for it. */
  readonly native: string
}

export type Resolution =
  | ({ readonly kind: 'found'; readonly entry: CatalogEntry | null } & Candidate)
  /** Reads only: several servers could own the URI. */
  | { readonly kind: 'ask-in-order'; readonly candidates: readonly Candidate[] }
  /** No known owner, but servers whose catalog is unknown could be it: still starting, or down. */
  | {
      readonly kind: 'undecided'
      readonly pending: readonly string[]
      readonly unavailable: readonly string[]
    }
  | { readonly kind: 'unknown' }

/** The kinds in which a target may be found. */
export function kindsOf(target: Target): readonly Kind[] {
  switch (target.kind) {
    case 'tool':
      return ['tools']
    case 'prompt':
    case 'ref-prompt':
      return ['prompts']
    case 'resource':
    case 'ref-resource':
      return ['resources', 'resourceTemplates']
    case 'server':
      return []
  }
}
