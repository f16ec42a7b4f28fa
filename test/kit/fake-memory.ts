import { createHash } from 'node:crypto'
import type { Archive, Memory, SavedCatalog, SavedPins } from '../../src/runtime/ports.js'

/** What outlives a gateway, in maps that a test can look into and spoil. */
export interface FakeMemory extends Memory {
  readonly lists: Map<string, SavedCatalog | 'lost'>
  readonly pinned: Map<string, SavedPins | 'lost'>
}

export function fakeMemory(): FakeMemory {
  const lists = new Map<string, SavedCatalog | 'lost'>()
  const pinned = new Map<string, SavedPins | 'lost'>()
  return {
    lists,
    pinned,
    catalogs: archiveIn(lists),
    pins: archiveIn(pinned),
    digest: text => createHash('sha256').update(text).digest('hex'),
  }
}

function archiveIn<Content>(map: Map<string, Content | 'lost'>): Archive<Content> {
  return {
    load: id => map.get(id) ?? null,
    save: (id, content) => {
      map.set(id, content)
    },
  }
}
