/** One thing that is wrong with a config, with the fix. Values of secrets never stand in it. */
export interface Fault {
  readonly severity: 'error' | 'warning'
  /** The server that it concerns; absent = the file as a whole. */
  readonly server?: string
  /** Path of the key: `mcpServers.files.args[1]`. */
  readonly key: string
  /** From 1. */
  readonly line?: number
  readonly column?: number
  readonly message: string
  readonly fix: string
}

/** What concerns the gateway itself. Times in ms. */
export interface GatewaySettings {
  readonly listen: { readonly host: string; readonly port: number }
  readonly auth: { readonly mode: 'none' }
  /** Further values of Host, and of Origin, that are accepted besides loopback. */
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly shutdownTimeoutMs: number
}

export type Path = readonly (string | number)[]

/** `mcpServers.files.args[1]`; keys that are no plain words are quoted. */
export function pathText(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[A-Za-z0-9_$-]+$/.test(part)) text += text === '' ? part : `.${part}`
    else text += `[${JSON.stringify(part)}]`
  }
  return text
}
