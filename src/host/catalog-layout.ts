import {
  type Bytes,
  type Component,
  EMPTY_CATALOG,
  type HeaderParam,
  KINDS,
  type Kind,
  type KindCatalog,
  LIMITS,
  type UpstreamCatalog,
} from '../model/index.js'
import type { SavedCatalog } from '../runtime/ports.js'
import type { Layout } from './archive.js'
import { Slices } from './slices.js'

type ItemMeta = readonly [key: string, length: number, headerParams?: readonly HeaderParam[]]

interface KindMeta {
  readonly fetchedAt: number
  readonly cacheScope?: 'public' | 'private'
  readonly items: readonly ItemMeta[]
}

interface CatalogMeta {
  readonly knownAt: number
  readonly kinds: Readonly<Partial<Record<Kind, KindMeta | 'absent'>>>
}

/** What one server offered. Nothing of its configuration stands in the file: its name is a digest of it. */
export const CATALOG_LAYOUT: Layout<SavedCatalog> = {
  kind: 'catalog',
  version: 1,
  what: owner => `The kept list of what ${owner} offered`,
  loss: 'After a restart, nothing is listed of a server before it is up.',
  litterMs: LIMITS.staleMs,
  encode: ({ catalog, knownAt }) => {
    const parts: Bytes[] = []
    const kinds: Partial<Record<Kind, KindMeta | 'absent'>> = {}
    for (const kind of KINDS) {
      const meta = encodeKind(catalog[kind], knownAt, parts)
      if (meta) kinds[kind] = meta
    }
    return { meta: { knownAt, kinds } satisfies CatalogMeta, parts }
  },
  decode: (meta, bytes) => {
    if (!isObject(meta) || !isTime(meta['knownAt']) || !isObject(meta['kinds'])) return null
    const slices = new Slices(bytes)
    const catalog: Record<Kind, KindCatalog> = { ...EMPTY_CATALOG }
    for (const kind of KINDS) {
      const decoded = decodeKind(kind, meta['kinds'][kind], slices)
      if (decoded === null) return null
      catalog[kind] = decoded
    }
    return slices.done ? { catalog: catalog satisfies UpstreamCatalog, knownAt: meta['knownAt'] } : null
  },
}

function encodeKind(known: KindCatalog, knownAt: number, parts: Bytes[]): KindMeta | 'absent' | null {
  if (known.state === 'absent') return 'absent'
  if (known.state === 'unknown') return null
  const items = known.items.map(({ key, bytes, headerParams }): ItemMeta => {
    parts.push(bytes)
    return headerParams ? [key, bytes.length, headerParams] : [key, bytes.length]
  })
  if (known.state === 'failed') return items.length === 0 ? null : { fetchedAt: knownAt, items }
  const { fetchedAt, cacheScope } = known
  return { fetchedAt, ...(cacheScope ? { cacheScope } : {}), items }
}

function decodeKind(kind: Kind, meta: unknown, slices: Slices): KindCatalog | null {
  if (meta === undefined) return { state: 'unknown' }
  if (meta === 'absent') return { state: 'absent' }
  if (!isObject(meta) || !isTime(meta['fetchedAt']) || !Array.isArray(meta['items'])) return null
  const items: Component[] = []
  for (const [key, length, headerParams] of meta['items'] as ItemMeta[]) {
    const bytes = slices.next(length)
    if (typeof key !== 'string' || bytes === null) return null
    items.push({ kind, key, bytes, ...(Array.isArray(headerParams) ? { headerParams } : {}) })
  }
  const scope = meta['cacheScope']
  return {
    state: 'stale',
    items,
    fetchedAt: meta['fetchedAt'],
    ...(scope === 'public' || scope === 'private' ? { cacheScope: scope } : {}),
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && Math.abs(value) <= 8.64e15
}
