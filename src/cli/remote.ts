import { loadConfig } from '../config/index.js'
import { type ControlFile, findControlFile, requireStateFolder } from '../host/index.js'
import { LIMITS } from '../model/index.js'
import { SseParser } from '../wire/index.js'
import { locateConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'

export interface RemoteOptions {
  readonly config?: string
  /** Base URL or `/mcp` URL of a running gateway. */
  readonly url?: string
}

const DEFAULT_BASE = 'http://127.0.0.1:7400'

/** Where a running gateway would answer: `--url`, else the address in the config, else the default. */
export async function gatewayBase(options: RemoteOptions): Promise<string> {
  if (options.url) return options.url.replace(/\/(mcp\/?)?$/, '')
  try {
    const { settings, ok } = await loadConfig(locateConfig(options.config), { env: process.env })
    if (!ok) return DEFAULT_BASE
    const { host, port } = settings.listen
    return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  } catch {
    return DEFAULT_BASE
  }
}

/** Reads one control route of a running gateway; null when none answers there. */
export async function readControl<T>(base: string, path: string): Promise<T | null> {
  let response: Response
  try {
    response = await fetch(`${base}${path}`, { signal: AbortSignal.timeout(5_000) })
  } catch {
    return null
  }
  return readBody<T>(base, response)
}

/**
 * Acts on a running gateway, with the control token of its owner.
 * @param patienceMs until the answer; stopping a stubborn server takes seconds
 */
export async function postControl<T>(
  base: string,
  path: string,
  patienceMs: number,
  signal?: AbortSignal,
): Promise<T> {
  const headers = { authorization: `Bearer ${tokenFor(base)}` }
  const limit = AbortSignal.timeout(patienceMs)
  let response: Response
  try {
    response = await fetch(`${base}${path}`, {
      method: 'POST',
      headers,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    })
  } catch {
    signal?.throwIfAborted()
    if (limit.aborted)
      throw new CommandFailure(EXIT.failed, `${base} did not finish it in ${patienceMs / 1_000} s.`)
    throw notRunning(base)
  }
  return readBody<T>(base, response)
}

/** Reads an event stream until it ends; false when no gateway answers there. */
export async function followControl(
  base: string,
  path: string,
  event: (name: string, data: unknown) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const response = await fetch(`${base}${path}`, { signal }).catch(() => null)
  if (!response) return false
  if (!response.ok || !response.body) await readBody(base, response)
  const parser = new SseParser(LIMITS.upstreamMessageBytes, {
    event: ({ event: name, data }) => event(name, JSON.parse(Buffer.from(data).toString('utf8'))),
    retry: () => undefined,
    overflow: () => undefined,
  })
  try {
    for await (const chunk of response.body ?? []) parser.push(chunk)
  } catch {
    // The gateway went away in the middle of it.
  }
  return true
}

async function readBody<T>(base: string, response: Response): Promise<T> {
  const body = (await response.json().catch(() => null)) as (T & { error?: string }) | null
  if (response.ok && body) return body
  const said = body?.error ?? `HTTP ${response.status}`
  throw new CommandFailure(response.status < 500 ? EXIT.failed : EXIT.unreachable, `${base}: ${said}`)
}

function tokenFor(base: string): string {
  let folder = ''
  let found: ControlFile | null
  try {
    folder = requireStateFolder()
    found = findControlFile(folder, base)
  } catch (thrown) {
    throw new CommandFailure(EXIT.failed, (thrown as Error).message)
  }
  if (found) return found.token
  throw new CommandFailure(
    EXIT.failed,
    `There is no control token for ${base} in ${folder}. Only the user who runs the gateway can act on it; where it runs with HOLDFAST_STATE_DIR, set the same here.`,
  )
}

export function notRunning(base: string): CommandFailure {
  return new CommandFailure(
    EXIT.unreachable,
    `No gateway answers at ${base}. Start one with "holdfast serve", or name its address with --url.`,
  )
}
