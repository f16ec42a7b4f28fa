/**
 * host: the machine behind the ports: real clock, randomness, child processes and sockets. Decides nothing.
 */
import { join } from 'node:path'
import type { Host } from '../runtime/ports.js'
import { createClock } from './clock.js'
import { createDialer } from './dialer.js'
import { Ledger } from './ledger.js'
import { sweepLeftovers } from './leftovers.js'
import { createMemory } from './memory.js'
import { factsOf, pidSpace } from './proc.js'
import { nodeRandom } from './random.js'
import { NodeSpawner } from './spawner.js'

export {
  type ControlFile,
  findControlFile,
  removeControlFile,
  writeControlFile,
} from './control-file.js'
export { type FileWatch, markOf, watchFiles } from './file-watch.js'
export { createMemory, type HostMemory } from './memory.js'
export { ProcessGauge } from './pressure.js'
export { requireStateFolder, stateFolder } from './state-folder.js'

export interface HostOptions {
  /** Where children, lists and pins are remembered beyond the life of the gateway; absent = nowhere. */
  readonly stateFolder?: string | null
  readonly warn?: (message: string) => void
}

export function nodeHost(options: HostOptions = {}): Host {
  const { warn = () => undefined } = options
  const instance = nodeRandom.token(16)
  const keeping = options.stateFolder ? ledgerIn(join(options.stateFolder, 'children')) : null
  const spawner = new NodeSpawner(instance, keeping && new Ledger({ ...keeping, instance, warn }))
  const memory = createMemory({ folder: options.stateFolder ?? null, warn })
  const clock = createClock()
  let swept: Promise<void> | null = null
  const sweepAll = async () => {
    await Promise.all([keeping && sweepLeftovers({ ...keeping, warn }), memory.sweep()])
  }
  return {
    clock,
    random: nodeRandom,
    spawner,
    memory,
    dialer: createDialer({ clock }),
    endLeftovers: () => {
      swept ??= sweepAll()
      return swept
    },
    settle: async () => {
      await Promise.all([spawner.groups.settle(), memory.settle()])
    },
  }
}

/** A pid alone must never be trusted: without /proc nothing is remembered, and children end by the end of their input. */
function ledgerIn(folder: string) {
  const space = pidSpace()
  const start = factsOf(process.pid)?.start
  return space === null || start === undefined
    ? null
    : { folder, space, gateway: { pid: process.pid, start } }
}
