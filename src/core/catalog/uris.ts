const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/
/** Stands between a prefix and the rest of a URI; no prefix may hold it. */
const MARK = '~/'

/** A client can fetch these by itself, so they stay as they are. */
export function isFetchable(uri: string): boolean {
  return /^https?:/i.test(uri)
}

/**
 * The URI (or URI template) under which clients see a resource. The scheme is kept: `scheme://REST` becomes
 * `scheme://PREFIX~/REST`, `scheme:REST` becomes `scheme:PREFIX~/REST`. What a client can fetch by itself, and what has
 * no literal scheme, is left alone.
 */
export function publicUri(prefix: string, native: string): string {
  const head = prefix === '' || isFetchable(native) ? null : headOf(native)
  return head === null ? native : `${head}${prefix}${MARK}${native.slice(head.length)}`
}

/** The exact inverse of `publicUri`; undefined when the URI does not carry that prefix. */
export function nativeUri(prefix: string, uri: string): string | undefined {
  const head = isFetchable(uri) ? null : headOf(uri)
  const marked = `${prefix}${MARK}`
  if (head === null || prefix === '' || !uri.startsWith(marked, head.length)) return undefined
  return head + uri.slice(head.length + marked.length)
}

/** The prefix that a public URI carries. */
export function prefixOf(uri: string): string | undefined {
  const head = headOf(uri)
  if (head === null || isFetchable(uri)) return undefined
  const end = uri.indexOf(MARK, head.length)
  if (end < 0) return undefined
  const prefix = uri.slice(head.length, end)
  return /^[A-Za-z0-9_.-]+$/.test(prefix) ? prefix : undefined
}

function headOf(uri: string): string | null {
  const scheme = SCHEME.exec(uri)?.[0]
  if (scheme === undefined) return null
  return uri.startsWith('//', scheme.length) ? `${scheme}//` : scheme
}
