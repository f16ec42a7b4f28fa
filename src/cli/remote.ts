import { loadConfig } from '../config/index.js'
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
  const body = (await response.json().catch(() => null)) as (T & { error?: string }) | null
  if (response.ok && body) return body
  const said = body?.error ?? `HTTP ${response.status}`
  throw new CommandFailure(response.status === 404 ? EXIT.failed : EXIT.unreachable, `${base}: ${said}`)
}

export function notRunning(base: string): CommandFailure {
  return new CommandFailure(
    EXIT.unreachable,
    `No gateway answers at ${base}. Start one with "holdfast serve", or name its address with --url.`,
  )
}
