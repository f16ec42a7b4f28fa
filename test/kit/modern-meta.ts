export const KEY = 'io.modelcontextprotocol/'
export const MODERN = '2026-07-28'

/** What every request of the modern era carries at least. */
export const MODERN_META = { [`${KEY}protocolVersion`]: MODERN, [`${KEY}clientCapabilities`]: {} }
