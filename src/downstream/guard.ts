import type { IncomingMessage, ServerResponse } from 'node:http'

export interface GuardOptions {
  readonly listen: { readonly host: string }
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/**
 * Keeps web pages out (DNS rebinding, cross-site requests): Host must name this machine, Origin must be absent or a
 * loopback one, on every route. Answers 403 itself; true when the request may go on.
 */
export function createGuard(options: GuardOptions): (req: IncomingMessage, res: ServerResponse) => boolean {
  const hosts = new Set(options.allowedHosts.map(host => host.toLowerCase()))
  const origins = new Set(options.allowedOrigins.map(origin => origin.toLowerCase()))
  const bound = options.listen.host.toLowerCase()
  hosts.add(bound.includes(':') ? `[${bound}]` : bound)
  return (req, res) => {
    const { host, origin, 'sec-fetch-site': site } = req.headers
    if (!isHostAllowed(host, hosts)) {
      return refuse(
        res,
        `Host ${JSON.stringify(host ?? '')} is not this gateway; add it to "allowedHosts" if it is`,
      )
    }
    if (origin !== undefined && !isOriginAllowed(origin, origins)) {
      return refuse(
        res,
        `Origin ${JSON.stringify(origin)} may not use this gateway; add it to "allowedOrigins"`,
      )
    }
    if (site === 'cross-site' && (origin === undefined || !origins.has(origin.toLowerCase()))) {
      return refuse(res, 'a cross-site request of a browser may not use this gateway')
    }
    return true
  }
}

function isHostAllowed(host: string | undefined, allowed: ReadonlySet<string>): boolean {
  if (host === undefined) return false
  const lower = host.toLowerCase()
  if (allowed.has(lower)) return true
  const name = hostName(lower)
  return name !== null && (LOOPBACK.test(name) || allowed.has(name))
}

/** Without the port; null for forms that no honest client sends (user info, trailing dot, junk). */
function hostName(host: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::\d{1,5})?$/.exec(host)
  return match?.[1] ?? null
}

function isOriginAllowed(origin: string, allowed: ReadonlySet<string>): boolean {
  const lower = origin.toLowerCase()
  if (allowed.has(lower)) return true
  const match = /^https?:\/\/(.+)$/.exec(lower)
  const name = match?.[1] === undefined ? null : hostName(match[1])
  return name !== null && LOOPBACK.test(name)
}

function refuse(res: ServerResponse, reason: string): false {
  const body = `${JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32600, message: `Forbidden: ${reason}.` } })}\n`
  res.writeHead(403, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  res.end(body)
  return false
}
