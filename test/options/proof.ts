import { createGateway, type Gateway } from '../../src/index.js'

export interface Config {
  readonly mcpServers: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly holdfast?: Readonly<Record<string, unknown>>
}

/**
 * A test that fails if the gateway ignores an option. With HOLDFAST_TEST_IGNORE=1 each gateway is made without the
 * option that is under test, as if nobody read it: then every proof must fail.
 */
export interface Proof {
  /** `server.` and the path in an entry, or `gateway.` and the path under `holdfast` at the top; proved one by one. */
  readonly keys: readonly string[]
  /** What the gateway does because of it. */
  readonly does: string
  readonly prove: (bench: Bench) => Promise<void>
}

/** What a proof works with; its gateways are closed after it. */
export interface Bench {
  /** The key under test. */
  readonly key: string
  /** A gateway with one server `a` that has these options, in its entry or among the defaults, as the key says. */
  serve(entry: object, options: Readonly<Record<string, unknown>>): Promise<Gateway>
  open(config: Config): Promise<Gateway>
}

/** Proves an option of a server, and the same one among the defaults. */
export function bothWays(path: string, does: string, prove: Proof['prove']): Proof {
  return { keys: [`server.holdfast.${path}`, `gateway.defaults.${path}`], does, prove }
}

export async function runProof(proof: Proof, key: string): Promise<void> {
  const gateways: Gateway[] = []
  const open = async (config: Config) => {
    const gateway = await createGateway(process.env['HOLDFAST_TEST_IGNORE'] ? without(config, key) : config)
    gateways.push(gateway)
    return gateway
  }
  const serve = (entry: object, options: Readonly<Record<string, unknown>>) =>
    key.startsWith('gateway.defaults.')
      ? open({ mcpServers: { a: { ...entry } }, holdfast: { defaults: options } })
      : open({ mcpServers: { a: { ...entry, holdfast: options } } })
  try {
    await proof.prove({ key, open, serve })
  } finally {
    await Promise.all(gateways.map(gateway => gateway.close()))
  }
}

/** The config without that option. */
function without(config: Config, key: string): Config {
  const copy = JSON.parse(JSON.stringify(config)) as Config
  const [place, ...path] = key.split('.')
  for (const owner of place === 'server' ? Object.values(copy.mcpServers) : [copy.holdfast ?? {}]) {
    let inner = owner as Record<string, unknown>
    for (const part of path.slice(0, -1)) inner = (inner[part] ?? {}) as Record<string, unknown>
    delete inner[path.at(-1) ?? '']
  }
  return copy
}
