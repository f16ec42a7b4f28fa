import { DOWN_STATES } from '../model/index.js'
import type { Host } from './ports.js'
import type { Supervisor } from './supervisor.js'

/** How long a reload waits for new versions; what else changes waits with it. */
export const SUCCESSION_MS = 5_000

/** A new version that has no place yet. */
export interface Successor {
  supervisor: Supervisor
  /** Told of each view that it would show. */
  told: () => void
  isStarted: boolean
}

/** What a trial found out. */
export type Finding =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly reason: string }
  /** It starts for longer than a reload waits; how that ends is another matter. */
  | { readonly kind: 'late' }

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
  end(successor: Successor): void {
    successor.told = () => undefined
    this.#open.delete(successor.supervisor)
  }

  /** Starts it. One that was late before is not waited for again. */
  run(successor: Successor): Promise<Finding> {
    if (successor.isStarted) return Promise.resolve(this.#find(successor) ?? { kind: 'late' })
    successor.isStarted = true
    return new Promise(resolve => {
      const timer = this.host.clock.after(SUCCESSION_MS, () => {
        successor.told = () => undefined
        resolve({ kind: 'late' })
      })
      this.await(successor, finding => {
        timer.cancel()
        resolve(finding)
      })
      successor.supervisor.boot()
    })
  }

  /** Told once what becomes of its start, unless it ends here, or goes on in another trial, before. */
  await(successor: Successor, told: (finding: Finding) => void): void {
    successor.told = () => {
      const finding = this.#find(successor)
      if (!finding) return
      successor.told = () => undefined
      told(finding)
    }
    successor.told()
  }

  /** Null while it is open. */
  #find({ supervisor }: Successor): Finding | null {
    const { state, settled, reason } = supervisor.view()
    if (state === 'ready' && settled) return { kind: 'ready' }
    return DOWN_STATES.has(state) || this.isOver() ? { kind: 'failed', reason: reason ?? state } : null
  }

  /** At once. Resolves when nothing of them is left. */
  async stop(): Promise<void> {
    await Promise.all([...this.#open].map(one => one.stop().catch(() => undefined)))
  }

  kill(): void {
    for (const one of this.#open) one.kill()
  }
}
