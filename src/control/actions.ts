import type { IncomingMessage, ServerResponse } from 'node:http'
import { isGatewayError, messageOf } from '../model/index.js'
import type { UpstreamActions } from '../runtime/ports.js'
import { sendJson, takesVerb } from './answer.js'
import type { UpstreamStatus } from './status.js'
import { checkToken } from './token.js'

export interface TestWishes {
  readonly timeoutMs?: number
  readonly attempts?: number
  readonly signal: AbortSignal
}

export interface ActionSource {
  /** What acting needs. */
  readonly token: string
  upstream(name: string): UpstreamStatus | null
  /** Null for a server whose entry cannot work as it is written. */
  actions(name: string): UpstreamActions | null
  /** Resolves with what it did, or would do. */
  reload?(dryRun: boolean): Promise<{ readonly ok: boolean }>
  /** Resolves with a report that is passed on as it is. */
  test(name: string, wishes: TestWishes): Promise<unknown>
}

const ACTION_PATH = /^\/api\/v1\/upstreams\/([^/]+)\/(restart|enable|disable|refresh|approve|test)$/
const RELOAD_PATH = '/api/v1/reload'
type Action = keyof UpstreamActions | 'test'

/** Serves `POST /api/v1/upstreams/NAME/ACTION`; false when the path is none of them. */
export function serveAction(
  source: ActionSource,
  req: IncomingMessage,
  res: ServerResponse,
  path: string,
): boolean {
  if (path === RELOAD_PATH) return serveReload(source, req, res, path)
  const match = ACTION_PATH.exec(path)
  if (!match) return false
  if (!takesVerb(req.method, res, path, ['POST']) || !mayAct(source, req, res)) return true
  const name = decode(match[1] ?? '')
  if (!source.upstream(name)) {
    sendJson(res, 404, { error: `No server named ${JSON.stringify(name)} is configured.` })
    return true
  }
  const action = match[2] as Action
  const done = action === 'test' ? test(source, name, req, res) : act(source, name, action, req, res)
  done.catch(thrown => refuse(res, thrown))
  return true
}

/** Why a configuration is not taken over is part of the result. */
function serveReload(source: ActionSource, req: IncomingMessage, res: ServerResponse, path: string): boolean {
  if (!takesVerb(req.method, res, path, ['POST']) || !mayAct(source, req, res)) return true
  const wish = searchOf(req).get('dryRun')
  const reload = async () => {
    const result = await source.reload?.(wish !== null && wish !== '0' && wish !== 'false')
    if (result) sendJson(res, 200, result)
    else sendJson(res, 409, { error: 'This gateway has no config file to read again.' })
  }
  reload().catch(thrown => refuse(res, thrown))
  return true
}

function mayAct({ token }: ActionSource, req: IncomingMessage, res: ServerResponse): boolean {
  const verdict = checkToken(req, token)
  if (verdict === 'granted') return true
  if (verdict === 'missing') {
    const error =
      'Acting needs the control token: Authorization: Bearer TOKEN. It stands in the control file of this gateway, which only its owner can read; "holdfast restart" and its like find it by themselves.'
    sendJson(res, 401, { error }, { 'www-authenticate': 'Bearer realm="holdfast control"' })
  } else {
    sendJson(res, 403, {
      error: 'This is not the control token of this gateway; it changes with every start.',
    })
  }
  return false
}

async function act(
  source: ActionSource,
  name: string,
  action: keyof UpstreamActions,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const actions = source.actions(name)
  if (!actions) {
    const reason = source.upstream(name)?.reason ?? 'its entry in the configuration cannot work'
    return sendJson(res, 409, { error: `${name} is misconfigured: ${reason}. Correct its entry first.` })
  }
  if (action === 'approve') actions.approve(searchOf(req).getAll('tool'))
  else await actions[action]()
  sendJson(res, 200, source.upstream(name))
}

/** The test ends when the one who asked goes away. */
async function test(
  source: ActionSource,
  name: string,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const searchParams = searchOf(req)
  const gone = new AbortController()
  res.once('close', () => gone.abort(new Error('The one who asked for the test went away.')))
  const report = await source.test(name, {
    ...numberIn(searchParams, 'timeoutMs', 'timeoutMs'),
    ...numberIn(searchParams, 'retries', 'attempts'),
    signal: gone.signal,
  })
  sendJson(res, 200, report)
}

function searchOf(req: IncomingMessage): URLSearchParams {
  return new URL(req.url ?? '/', 'http://gateway').searchParams
}

/** A text that is no number becomes NaN, which the test refuses in words. */
function numberIn(params: URLSearchParams, key: string, as: string): Record<string, number> {
  const text = params.get(key)
  return text === null ? {} : { [as]: text.trim() === '' ? Number.NaN : Number(text) }
}

function refuse(res: ServerResponse, thrown: unknown): void {
  const error = messageOf(thrown)
  sendJson(res, isGatewayError(thrown) && thrown.kind === 'invalid' ? 400 : 500, { error })
}

export function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
