import { createGateway, type Gateway } from '../library.js'
import { locateConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'
import { gatewayBase, notRunning, type RemoteOptions, readControl } from './remote.js'

/** How long a one-off gateway waits for its servers before it lists what there is. */
const START_MS = 30_000

/** True when a gateway answers at the address that the options point to. */
export async function findRunning(options: RemoteOptions): Promise<string | null> {
  const base = await gatewayBase(options)
  const alive = await readControl(base, '/healthz').catch(() => null)
  if (alive) return base
  if (options.url) throw notRunning(base)
  return null
}

/** A gateway of our own, straight from the config, for one command. */
export async function withOwnGateway<T>(
  options: RemoteOptions,
  use: (gateway: Gateway) => Promise<T>,
): Promise<T> {
  const configFile = locateConfig(options.config)
  const gateway = await createGateway({ configFile }).catch((thrown: unknown) => {
    throw new CommandFailure(EXIT.config, thrown instanceof Error ? thrown.message : String(thrown))
  })
  try {
    return await use(gateway)
  } finally {
    await gateway.close()
  }
}

/** Resolves when every server has come up or failed. */
export async function allSettled(gateway: Gateway): Promise<void> {
  const settled = () => gateway.status().upstreams.every(upstream => upstream.settled)
  await gateway.listTools()
  if (settled()) return
  await new Promise<void>(resolve => {
    const finish = () => {
      leave()
      clearTimeout(timer)
      resolve()
    }
    const leave = gateway.on('upstream', () => {
      if (settled()) finish()
    })
    const timer = setTimeout(finish, START_MS)
  })
}
