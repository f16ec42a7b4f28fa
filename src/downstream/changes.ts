import type { Kind } from '../model/index.js'
import type { Clock, Timer } from '../runtime/ports.js'

/** The kinds of lists as clients know them: templates count as resources. */
export type ListName = 'tools' | 'prompts' | 'resources'

/** Changes of one list within this time are told as one. */
const COALESCE_MS = 300

/** Tells one client about changed lists, each at most once in a while and none too few. */
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
    const now = this.clock.now()
    const wait = (this.#toldAt.get(list) ?? now - COALESCE_MS) + COALESCE_MS - now
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
