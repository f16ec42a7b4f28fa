import type { Handshake } from '../connection.js'

/** Reads an InitializeResult; null when its shape is wrong. */
export function readInitializeResult(result: Record<string, unknown> | null): Handshake | null {
  const version = result?.['protocolVersion']
  if (typeof version !== 'string') return null
  return {
    protocolVersion: version,
    serverInfo: readServerInfo(result?.['serverInfo']),
    capabilities: readObject(result?.['capabilities']),
    instructions: readText(result?.['instructions']),
  }
}

/** Reads a DiscoverResult; the server's identity stands in its `_meta`. */
export function readDiscoverResult(result: Record<string, unknown>, version: string): Handshake {
  const meta = readObject(result['_meta'])
  return {
    protocolVersion: version,
    serverInfo: readServerInfo(meta['io.modelcontextprotocol/serverInfo']),
    capabilities: readObject(result['capabilities']),
    instructions: readText(result['instructions']),
  }
}

function readObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
}

function readText(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function readServerInfo(value: unknown): Handshake['serverInfo'] {
  const { name, version } = readObject(value)
  return typeof name === 'string' ? { name, version: typeof version === 'string' ? version : '' } : null
}
