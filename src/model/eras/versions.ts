/** Newest first. */
export const LEGACY_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']
export const MODERN_VERSIONS: readonly string[] = ['2026-07-28']

export const NEWEST_LEGACY = '2025-11-25'
export const NEWEST_MODERN = '2026-07-28'

/** Versions whose HTTP requests carry `MCP-Protocol-Version` after the handshake. */
export function hasVersionHeader(version: string): boolean {
  return version >= '2025-06-18'
}
