import { type CatalogEntry, GatewayError, type Kind, LIMITS } from '../model/index.js'
import type { Random } from './ports.js'

type Entries = readonly CatalogEntry[]

interface Generation {
  readonly entries: Entries
  /** Cursor of the page that begins there. */
  readonly cursors: Map<number, string>
}

/** States of the lists that cursors may still page through. */
const KEPT = 64
const CURSOR_BYTES = 16

/**
 * Pages of lists. A client that follows cursors sees one state of the list, whatever happens meanwhile. A cursor is a
 * random word that says nothing and cannot be guessed or altered into another.
 */
export class Paging {
  readonly #generations = new Map<Entries, Generation>()
  readonly #places = new Map<
    string,
    { readonly entries: Entries; readonly kind: Kind; readonly offset: number }
  >()

  constructor(private readonly random: Random) {}

  /** @throws GatewayError INVALID_PARAMS for a cursor that is not ours, not of that list, or has expired */
  find(cursor: string, kind: Kind): { readonly entries: Entries; readonly offset: number } {
    const place = this.#places.get(cursor)
    if (place?.kind === kind) return place
    throw new GatewayError(
      'INVALID_PARAMS',
      'The cursor is unknown or has expired; list again from the start.',
    )
  }

  /** Of the page after the one from `offset`; null when that is the last. */
  next(entries: Entries, kind: Kind, offset: number): string | null {
    const end = offset + LIMITS.pageSize
    if (end >= entries.length) return null
    const { cursors } = this.#generation(entries)
    const known = cursors.get(end)
    if (known) return known
    const cursor = this.random.token(CURSOR_BYTES)
    cursors.set(end, cursor)
    this.#places.set(cursor, { entries, kind, offset: end })
    return cursor
  }

  #generation(entries: Entries): Generation {
    const known = this.#generations.get(entries)
    if (known) return known
    const generation = { entries, cursors: new Map<number, string>() }
    this.#generations.set(entries, generation)
    const [oldest] = this.#generations.values()
    if (this.#generations.size > KEPT && oldest) {
      this.#generations.delete(oldest.entries)
      for (const cursor of oldest.cursors.values()) this.#places.delete(cursor)
    }
    return generation
  }
}
