import type { Kind } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'

/** The kinds of lists as clients know them: templates count as resources. */
export type ListName = 'tools' | 'prompts' | 'resources'

/** The least time between two messages about one list: each may cost the client a listing. */
const EVERY_MS = 5_000

/** Tells one client about changed lists: the first change at once, those that follow as one, and none too few. */
export class ChangeTeller {
  readonly #toldAt = new Map<ListName, number>()
  readonly #pending = new Map<ListName, Timer>()

  constructor(
    private readonly clock: Clock,
    private readonly tell: (list: ListName) => void,
  ) {}

  note(kind: Kind): void {
    const list = kind === 'resourceTemplates' ? 'resources' : kind
    if (this.#pending.has(list)) return
    const toldAt = this.#toldAt.get(list)
    const wait = toldAt === undefined ? 0 : toldAt + EVERY_MS - this.clock.now()
    const timer = this.clock.after(Math.max(0, wait), () => {
      this.#pending.delete(list)
      this.#toldAt.set(list, this.clock.now())
      this.tell(list)
    })
    this.#pending.set(list, timer)
  }

  stop(): void {
    for (const timer of this.#pending.values()) timer.cancel()
    this.#pending.clear()
  }
}
