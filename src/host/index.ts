/**
 * host: the machine behind the ports: real clock, randomness, child processes and sockets. Decides nothing.
 */
import type { Host } from '../runtime/ports.js'
import { nodeClock } from './clock.js'
import { undiciDialer } from './dialer.js'
import { nodeRandom } from './random.js'
import { nodeSpawner } from './spawner.js'

export {
  type ControlFile,
  findControlFile,
  removeControlFile,
  stateFolder,
  writeControlFile,
} from './control-file.js'

export function nodeHost(): Host {
  return { clock: nodeClock, random: nodeRandom, spawner: nodeSpawner, dialer: undiciDialer }
}
