import type { Clock, Host, Random } from '../../src/runtime/ports.js'
import type { Ledger } from './ledger.js'
import { createVirtualDialer, type Network } from './virtual-dialer.js'
import { createVirtualSpawner, type Programs } from './virtual-spawner.js'
import { EPOCH, type World } from './world.js'

export interface Machine {
  readonly world: World
  readonly ledger: Ledger
  readonly programs: Programs
  readonly network: Network
}

/** The ports of the runtime, filled by a virtual machine. */
export function createVirtualHost(machine: Machine): Host {
  const { world, ledger } = machine
  const clock: Clock = {
    now: () => world.now,
    wallTime: () => EPOCH + Math.floor(world.now) + ledger.wallSkewMs,
    after: (ms, fn) => {
      const delay = Number.isFinite(ms) ? Math.max(0, ms) : 0
      const name = {}
      ledger.timers.add(name)
      const event = world.after(delay, () => {
        ledger.timers.delete(name)
        fn()
      })
      return {
        cancel: () => {
          ledger.timers.delete(name)
          event.cancel()
        },
      }
    },
  }
  return {
    clock,
    random: virtualRandom(world),
    spawner: createVirtualSpawner(machine),
    dialer: createVirtualDialer(machine),
  }
}

function virtualRandom(world: World): Random {
  const dice = world.dice('gateway')
  return {
    next: () => dice.next(),
    token: bytes =>
      Array.from({ length: bytes }, () => dice.between(0, 255).toString(16).padStart(2, '0')).join(''),
  }
}
