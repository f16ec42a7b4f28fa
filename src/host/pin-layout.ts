import { type Bytes, KINDS, type Kind } from '../model/index.js'
import type { SavedPin, SavedPins } from '../runtime/ports.js'
import type { Layout } from './archive.js'
import { Slices } from './slices.js'

type PinMeta = readonly [
  kind: Kind,
  key: string,
  length: number,
  toldHash: string | null,
  toldAt: number | null,
]

const YEAR_MS = 365 * 24 * 60 * 60_000

/** The definitions of one server that were approved, whole: the difference to a later one is told from them. */
export const PIN_LAYOUT: Layout<SavedPins> = {
  kind: 'pins',
  version: 1,
  what: owner => `The pinned descriptions of the tools and prompts of ${owner}`,
  loss: 'After a restart, it cannot be told whether they are what they were.',
  litterMs: YEAR_MS,
  encode: ({ kinds, pins }) => ({
    meta: {
      kinds,
      pins: pins.map(
        ({ kind, key, bytes, told }): PinMeta => [
          kind,
          key,
          bytes.length,
          told?.hash ?? null,
          told?.at ?? null,
        ],
      ),
    },
    parts: pins.map(({ bytes }) => bytes),
  }),
  decode: (meta, bytes) => {
    const { kinds, pins } = (meta ?? {}) as { kinds?: unknown; pins?: unknown }
    if (!Array.isArray(kinds) || !kinds.every(isKind) || !Array.isArray(pins)) return null
    const slices = new Slices(bytes)
    const decoded: SavedPin[] = []
    for (const row of pins as unknown[]) {
      const pin = decodePin(row, slices)
      if (pin === null) return null
      decoded.push(pin)
    }
    return slices.done ? { kinds, pins: decoded } : null
  },
}

function decodePin(row: unknown, slices: Slices): SavedPin | null {
  if (!Array.isArray(row)) return null
  const [kind, key, length, toldHash, toldAt] = row as unknown[]
  const bytes: Bytes | null = slices.next(length)
  if (!isKind(kind) || typeof key !== 'string' || bytes === null) return null
  const told =
    typeof toldHash === 'string' && typeof toldAt === 'number' ? { hash: toldHash, at: toldAt } : null
  return { kind, key, bytes, told }
}

function isKind(value: unknown): value is Kind {
  return KINDS.includes(value as Kind)
}
