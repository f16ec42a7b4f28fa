import type { IncomingMessage, ServerResponse } from 'node:http'
import { ERRORS, LIMITS, type Scope } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'

/** Says whose request it is; a throw or an empty answer refuses it. */
export type Identify = (req: IncomingMessage) => string | Promise<string>

type Serve = (req: IncomingMessage, res: ServerResponse, scope: Scope, principal?: string) => void

/** Lets requests through under the name that the embedding program gives them, and refuses those that get none. */
export function identified(serve: Serve, identify: Identify | undefined, clock: Clock): Serve {
  if (!identify) return serve
  return (req, res, scope) => {
    let over = false
    const decide = (principal: unknown) => {
      if (over) return
      over = true
      timer.cancel()
      if (res.destroyed) return
      if (typeof principal === 'string' && principal !== '') serve(req, res, scope, principal)
      else refuse(res)
    }
    const timer = clock.after(LIMITS.identifyMs, () => decide(null))
    new Promise<string>(resolve => resolve(identify(req))).then(decide, () => decide(null))
  }
}

/** Nothing of what the program said goes out: it may hold what the client must not read. */
function refuse(res: ServerResponse): void {
  const message = 'This gateway does not know who you are; sign in first.'
  const error = { code: ERRORS.SIGN_IN_REQUIRED.rpcCode, message }
  const body = JSON.stringify({ jsonrpc: '2.0', id: null, error })
  res.writeHead(401, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'www-authenticate': 'Bearer realm="holdfast"',
  })
  res.end(body)
}
