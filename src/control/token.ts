import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

export type Verdict = 'granted' | 'missing' | 'wrong'

/** Whether a request carries the control token. Takes the same time for every wrong one. */
export function checkToken(req: IncomingMessage, token: string): Verdict {
  const { authorization } = req.headers
  if (authorization === undefined) return 'missing'
  const given = /^bearer +([^\s]+) *$/i.exec(authorization)?.[1]
  if (given === undefined) return 'wrong'
  return timingSafeEqual(digest(given), digest(token)) ? 'granted' : 'wrong'
}

/** Equal lengths for the comparison, whatever was given. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
