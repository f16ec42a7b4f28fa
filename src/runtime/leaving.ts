import { messageOf } from '../model/index.js'
import { endAtOnce } from './endings.js'
import { heldWithin } from './held-within.js'
import type { Clock } from './ports.js'
import type { Supervisor } from './supervisor.js'

/** How long calls under way may still take at a server that left the configuration. */
const FINISH_MS = 25_000
const LOOK_MS = 50

/** Resolves when no call is under way there any more, or when that took too long. */
export function finished(supervisor: Supervisor, clock: Clock): Promise<void> {
  const isIdle = () => supervisor.calls === 0 || supervisor.connection === null
  return heldWithin(clock, isIdle, FINISH_MS, LOOK_MS)
}

/** Those that have no place any more, and of which something still runs. */
export class Leaving {
  readonly #supervisors = new Map<Supervisor, Promise<void>>()

  constructor(
    private readonly clock: Clock,
    private readonly failed: (upstream: string, reason: string) => void,
  ) {}

  /** Resolves when nothing of that name is left, or nothing more can be done about it. */
  async goneOf(name: string): Promise<void> {
    const own = [...this.#supervisors].filter(([{ spec }]) => spec.name === name)
    await Promise.all(own.map(([, gone]) => gone))
  }

  /** @returns resolves when nothing of it is left, or nothing more can be done about it */
  add(supervisor: Supervisor): Promise<void> {
    const gone = finished(supervisor, this.clock)
      .then(() => supervisor.stop())
      .catch((cause: unknown) => this.failed(supervisor.spec.name, messageOf(cause)))
      .then(() => void this.#supervisors.delete(supervisor))
    this.#supervisors.set(supervisor, gone)
    return gone
  }

  /** At once, whatever is under way. Resolves when all are gone. */
  async stop(): Promise<void> {
    const ends = [...this.#supervisors.keys()].map(supervisor => supervisor.stop().catch(() => undefined))
    await Promise.all(ends)
  }

  kill(): void {
    for (const supervisor of this.#supervisors.keys()) endAtOnce(supervisor)
  }
}
