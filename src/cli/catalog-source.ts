import { createGateway, type Gateway } from '../library.js'
import { messageOf } from '../model/index.js'
import { locateConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'
import { gatewayBase, notRunning, type RemoteOptions, readControl } from './remote.js'
import { interruptible } from './stop-signals.js'

/** True when a gateway answers at the address that the options point to. */
export async function findRunning(options: RemoteOptions): Promise<string | null> {
  const base = await gatewayBase(options)
  const alive = await readControl(base, '/healthz').catch(() => null)
  if (alive) return base
  if (options.url) throw notRunning(base)
  return null
}

/**
 * A gateway of our own, straight from the config, for one command. A signal ends the command, and then the servers as a
 * stop does; a second one kills them.
 * @param said what is told of the first signal
 */
export async function withOwnGateway<T>(
  options: RemoteOptions,
  said: string,
  use: (gateway: Gateway, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const configFile = locateConfig(options.config)
  const gateway = await createGateway({ configFile }).catch((thrown: unknown) => {
    throw new CommandFailure(EXIT.config, messageOf(thrown))
  })
  return interruptible(
    said,
    signal => use(gateway, signal),
    () => gateway.close(),
  )
}
