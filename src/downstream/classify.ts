import { LEGACY_VERSIONS, MODERN_VERSIONS } from '../model/index.js'
import { type Envelope, member, stringAt } from '../wire/index.js'

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion'

/** Which era one message belongs to. The body decides; headers are only checked against it. */
export type Claim =
  | { readonly kind: 'modern'; readonly version: string }
  /** It names a version that nobody here speaks. */
  | { readonly kind: 'unsupported'; readonly version: string }
  /** It names none, or a legacy one: a session decides. */
  | { readonly kind: 'none' }

export function classify(envelope: Envelope): Claim {
  const { meta } = envelope
  if (!meta) return NONE
  const found = member(meta, VERSION_KEY)
  if (!found) return NONE
  const version = stringAt(meta.bytes, found)
  if (version === undefined) return { kind: 'unsupported', version: '' }
  if (MODERN_VERSIONS.includes(version)) return { kind: 'modern', version }
  return LEGACY_VERSIONS.includes(version) ? NONE : { kind: 'unsupported', version }
}

const NONE: Claim = { kind: 'none' }

/** Everything that is spoken here, newest first. */
export const SUPPORTED_VERSIONS: readonly string[] = [...MODERN_VERSIONS, ...LEGACY_VERSIONS]

/** The only version with batches. */
export const BATCH_VERSION = '2025-03-26'

/** Whether clients of a session's version know events without data, which only name where a broken stream goes on. */
export function primesStreams(version: string): boolean {
  return version >= '2025-11-25'
}
