import { type Bytes, LIMITS, type Phase } from '../../model/index.js'
import type { HttpFault } from '../../runtime/ports.js'
import type { TransportFault } from '../transport.js'
import { sessionIsLost } from './session-lost.js'

/** These say that the request was looked at and not processed. */
const REJECTED = new Set([
  400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 421, 425, 426, 428, 429, 431,
])

/** Headers on which something later depends. */
const TOLD = ['content-type', 'retry-after', 'www-authenticate', 'allow']

/** A broken exchange, as the transports report it. */
export function transportFault(fault: HttpFault): TransportFault {
  const { phase, message, cause, local } = fault
  const reason = fault.reason === 'other' && isGarbled(cause) ? 'garbled' : fault.reason
  return { phase, reason, message, cause, ...(local ? { local } : {}) }
}

/** The peer answered with something that is not HTTP, or whose length is not what it said. */
function isGarbled(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false
  const { code = '' } = cause as NodeJS.ErrnoException
  return cause.name === 'HTTPParserError' || /^(HPE_|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES_)/.test(code)
}

/**
 * A status that is no success.
 * @param what verb and path, without query: "POST /mcp"
 */
export function statusFault(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Bytes,
  what: string,
  hadSession: boolean,
): TransportFault {
  const lost = hadSession && sessionIsLost(status, body)
  const rejected = lost || REJECTED.has(status) || (status >= 300 && status < 400)
  const phase: Phase = rejected ? 'rejected' : 'unknown'
  return {
    phase,
    reason: lost ? 'session-lost' : status === 401 ? 'unauthorized' : 'http-status',
    message: `HTTP ${status} from ${what}${hint(status, headers)}`,
    status,
    headers: toldOf(headers),
    body,
  }
}

/** The date only where another one counts from it. */
function toldOf(headers: Readonly<Record<string, string>>): Record<string, string> {
  const names = headers['retry-after'] ? [...TOLD, 'date'] : TOLD
  return Object.fromEntries(names.flatMap(name => (headers[name] ? [[name, headers[name]]] : [])))
}

/** Names no more of another place than its origin: queries and paths may hold secrets. */
function hint(status: number, headers: Readonly<Record<string, string>>): string {
  const { location } = headers
  if (status < 300 || status >= 400 || !location) return ''
  if (!URL.canParse(location)) return ': its redirect was not followed'
  return `: a redirect to ${new URL(location).origin} was not followed`
}

/** Nothing was asked for but the plain bytes: what was packed can be a bomb, and cannot be read. */
export function packed(what: string, encoding: string): TransportFault {
  const message = `${what} answered with the content-encoding ${excerptOf(Buffer.from(encoding))}, which was not asked for`
  return { phase: 'unknown', reason: 'not-mcp', message }
}

export function tooLarge(what: string): TransportFault {
  const message = `${what} answered with more than ${LIMITS.upstreamMessageBytes} bytes in one message`
  return { phase: 'unknown', reason: 'too-large', message }
}

/** An answer that is not MCP at all: a login page, a portal. */
export function notMcp(what: string, contentType: string, body: Bytes): TransportFault {
  const excerpt = excerptOf(body)
  const shown = excerpt === '' ? '' : `: ${excerpt}`
  return {
    phase: 'unknown',
    reason: 'not-mcp',
    message: `${what} answered ${contentType || 'no content type'} instead of MCP${shown}`,
    body,
  }
}

function excerptOf(body: Bytes): string {
  return Buffer.from(body.subarray(0, 200)).toString('utf8').replace(/\s+/g, ' ').trim()
}
