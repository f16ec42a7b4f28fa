import { type Bytes, LIMITS } from '../../model/index.js'
import type { TransportFault } from '../transport.js'

/** A message that was dropped because it passed the bound; which request it answers is told where it can be seen. */
export function oversized(what: string): TransportFault {
  return {
    phase: 'unknown',
    reason: 'too-large',
    message: `${what} of more than ${LIMITS.upstreamMessageBytes} bytes was dropped: it is too large`,
  }
}

const NUMBER_OR_STRING = /^(?:(-?\d+)|"(?:[^"\\]|\\.)*"|null|true|false)\s*,\s*/
const KEY = /^"([^"\\]*)"\s*:\s*/
/** The end of an answer whose id stands behind its payload, as the official SDKs write it. */
const LAST = /,\s*"id"\s*:\s*(\d{1,16})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/

/**
 * The id of the request that a message answers, from its first and last bytes. Only what stands at the top level
 * counts: a payload has ids of its own.
 */
export function answeredId(prefix: Bytes, suffix: Bytes | null = null): number | null {
  let rest = Buffer.from(prefix)
    .toString('utf8')
    .replace(/^[\s\ufeff]*\{\s*/, '')
  let id: number | null = null
  for (let key = KEY.exec(rest); key; key = KEY.exec(rest)) {
    rest = rest.slice(key[0].length)
    if (key[1] === 'method') return null
    if (key[1] === 'result' || key[1] === 'error') return id ?? (suffix === null ? null : lastId(suffix))
    const value = NUMBER_OR_STRING.exec(rest)
    if (!value) return null
    if (key[1] === 'id') id = value[1] === undefined ? null : Number(value[1])
    rest = rest.slice(value[0].length)
  }
  return null
}

function lastId(suffix: Bytes): number | null {
  const found = LAST.exec(Buffer.from(suffix).toString('latin1'))
  return found ? Number(found[1]) : null
}
