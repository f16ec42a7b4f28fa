import type { ServerResponse } from 'node:http'

export function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendRaw(res, status, `${JSON.stringify(body)}\n`, headers)
}

/** @param body JSON already */
export function sendRaw(
  res: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  res.end(body)
}

/** Refuses another verb than the one that the path takes; true when the request may go on. */
export function takesVerb(
  method: string | undefined,
  res: ServerResponse,
  path: string,
  allowed: readonly string[],
): boolean {
  if (allowed.includes(method ?? '')) return true
  const how = allowed[0] === 'GET' ? 'is read with GET' : `takes ${allowed[0]}`
  sendJson(res, 405, { error: `${path} ${how}.` }, { allow: allowed.join(', ') })
  return false
}
