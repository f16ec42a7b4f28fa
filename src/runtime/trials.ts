import type { Host } from './ports.js'
import type { Supervisor } from './supervisor.js'

/** How long a new version may take until the old one is replaced all the same, or kept. */
export const SUCCESSION_MS = 10_000
const DOWN: ReadonlySet<string> = new Set(['backoff', 'quarantined', 'misconfigured', 'auth_required'])

/** A new version that has no place yet. */
export interface Successor {
  supervisor: Supervisor
  /** Told of each view that it would show. */
  told: () => void
  isStarted: boolean
}

/** New versions that are not seated: tried beside the old ones, and ended with the gateway. */
export class Trials {
  readonly #open = new Set<Supervisor>()

  constructor(
    private readonly host: Pick<Host, 'clock'>,
    private readonly isOver: () => boolean,
  ) {}

  /** @param make one that is not started yet */
  begin(make: (heard: () => void) => Supervisor): Successor {
    const successor: Successor = { supervisor: undefined as never, told: () => undefined, isStarted: false }
    successor.supervisor = make(() => successor.told())
    this.#open.add(successor.supervisor)
    return successor
  }

  /** It has its place, or is on its way out. */
  end({ supervisor }: Successor): void {
    this.#open.delete(supervisor)
  }

  /** @returns why it cannot take the place; null when it is ready, with its lists */
  run(successor: Successor): Promise<string | null> {
    const { supervisor } = successor
    successor.isStarted = true
    return new Promise(resolve => {
      const end = (reason: string | null) => {
        timer.cancel()
        successor.told = () => undefined
        resolve(reason)
      }
      const late = () => `it was not ready after ${SUCCESSION_MS / 1_000} s`
      const timer = this.host.clock.after(SUCCESSION_MS, () =>
        end(supervisor.state === 'ready' ? null : late()),
      )
      successor.told = () => {
        const view = supervisor.view()
        if (view.state === 'ready' && view.settled) end(null)
        else if (DOWN.has(view.state) || this.isOver()) end(view.reason ?? view.state)
      }
      supervisor.boot()
    })
  }

  /** At once. Resolves when nothing of them is left. */
  async stop(): Promise<void> {
    await Promise.all([...this.#open].map(one => one.stop().catch(() => undefined)))
  }

  kill(): void {
    for (const one of this.#open) one.kill()
  }
}
