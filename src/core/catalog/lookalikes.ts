import { type CatalogEntry, KINDS, type Kind, type MergedCatalog } from '../../model/index.js'
import { withoutInvisibles } from './invisible.js'

/** A name that a person may take for an earlier one. */
export interface Lookalike {
  readonly kind: Kind
  readonly key: string
  readonly upstream: string
  /** The earlier name, and who has it. */
  readonly like: string
  readonly of: string
}

const known = new WeakMap<MergedCatalog, readonly Lookalike[]>()

/**
 * Listed tools and prompts whose names are the same but for case, width and form of their characters, and invisible
 * ones. Letters of other scripts that only look alike are not found.
 * @param prefixOf the prefix of a server: a public name has lost the characters that clients refuse
 */
export function lookalikesIn(
  catalog: MergedCatalog,
  prefixOf: (upstream: string) => string,
): readonly Lookalike[] {
  let found = known.get(catalog)
  if (!found) {
    found = KINDS.filter(isNamed).flatMap(kind => among(catalog.listed[kind], prefixOf))
    known.set(catalog, found)
  }
  return found
}

function isNamed(kind: Kind): boolean {
  return kind === 'tools' || kind === 'prompts'
}

function among(entries: readonly CatalogEntry[], prefixOf: (upstream: string) => string): Lookalike[] {
  const first = new Map<string, CatalogEntry>()
  const found: Lookalike[] = []
  for (const entry of entries) {
    const prefix = prefixOf(entry.upstream)
    const name = foldName(`${prefix === '' ? '' : `${prefix}__`}${entry.component.key}`)
    const earlier = first.get(name)
    if (!earlier) first.set(name, entry)
    else {
      const { kind, key, upstream } = entry
      found.push({ kind, key, upstream, like: earlier.key, of: earlier.upstream })
    }
  }
  return found
}

/** What is left of a name when all that is easily overlooked is taken away. */
export function foldName(name: string): string {
  // To upper case first: "ß" and "ss", and both forms of the small sigma, meet there.
  return withoutInvisibles(name).normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC')
}
