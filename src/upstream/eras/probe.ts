import { LEGACY_VERSIONS, MODERN_VERSIONS } from '../../model/index.js'
/** What came back for `server/discover`. */
export type ProbeOutcome =
  | { readonly kind: 'result'; readonly result: unknown }
  | { readonly kind: 'rpc-error'; readonly code: unknown; readonly data: unknown }
  /** An HTTP status without a JSON-RPC error in the body. */
  | { readonly kind: 'status'; readonly status: number }
  /** A success that is not MCP. */
  | { readonly kind: 'not-mcp' }
  | { readonly kind: 'silence' }
  /** A child exited, or closed its pipes. */
  | { readonly kind: 'exit' }
  /** Refused, reset, DNS, TLS. */
  | { readonly kind: 'unreachable' }

export type Verdict =
  | { readonly kind: 'modern'; readonly version: string }
  | { readonly kind: 'legacy' }
  /** The same server needs a fresh process before it is asked in the legacy way. */
  | { readonly kind: 'legacy-respawn' }
  | { readonly kind: 'probe-again'; readonly version: string }
  /** Modern, but no version in common; asking in the legacy way would be wrong. */
  | { readonly kind: 'disjoint'; readonly theirs: readonly string[] }
  | { readonly kind: 'auth' }
  /** No evidence of anything: the old verdict stays. */
  | { readonly kind: 'outage' }

const UNSUPPORTED_VERSION = -32022

/**
 * Which era a server speaks, judged from its answer to `server/discover` (2026-07-28, versioning). Conservative: an
 * outage is never a verdict, and whatever is not clearly modern is asked again in the legacy way, which must then
 * succeed by itself.
 */
export function classifyProbe(outcome: ProbeOutcome, transport: 'stdio' | 'http'): Verdict {
  switch (outcome.kind) {
    case 'result':
      return fromResult(outcome.result)
    case 'rpc-error':
      return outcome.code === UNSUPPORTED_VERSION ? fromUnsupported(outcome.data) : { kind: 'legacy' }
    case 'status':
      return fromStatus(outcome.status)
    case 'not-mcp':
      return { kind: 'legacy' }
    case 'silence':
      return transport === 'stdio' ? { kind: 'legacy' } : { kind: 'outage' }
    case 'exit':
      return transport === 'stdio' ? { kind: 'legacy-respawn' } : { kind: 'outage' }
    case 'unreachable':
      return { kind: 'outage' }
  }
}

function fromResult(result: unknown): Verdict {
  const theirs = stringsIn(result, 'supportedVersions')
  if (theirs === null) return { kind: 'legacy' }
  return choose(theirs, version => ({ kind: 'modern', version }))
}

function fromUnsupported(data: unknown): Verdict {
  const theirs = stringsIn(data, 'supported')
  if (theirs === null) return { kind: 'legacy' }
  return choose(theirs, version => ({ kind: 'probe-again', version }))
}

function choose(theirs: readonly string[], modern: (version: string) => Verdict): Verdict {
  const version = MODERN_VERSIONS.find(ours => theirs.includes(ours))
  if (version !== undefined) return modern(version)
  if (theirs.some(name => LEGACY_VERSIONS.includes(name))) return { kind: 'legacy' }
  return { kind: 'disjoint', theirs }
}

function fromStatus(status: number): Verdict {
  if (status === 401 || status === 403) return { kind: 'auth' }
  if (status >= 500 || status === 408 || status === 429) return { kind: 'outage' }
  return { kind: 'legacy' }
}

function stringsIn(value: unknown, key: string): readonly string[] | null {
  if (typeof value !== 'object' || value === null) return null
  const list = (value as Record<string, unknown>)[key]
  return Array.isArray(list) && list.every(item => typeof item === 'string') ? list : null
}
