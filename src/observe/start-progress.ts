import type { Snapshot, UpstreamView } from '../model/index.js'
import type { Log } from './log.js'
import type { StderrTails } from './stderr-tails.js'

const EVERY_MS = 30_000

interface Timers {
  now(): number
  after(ms: number, fn: () => void): { cancel(): void }
}

interface Start {
  readonly startedAt: number
  /** Lines of stderr before it: older ones say nothing about this start. */
  readonly written: number
  /** How the try before it ended. */
  readonly before: string | null
  timer: { cancel(): void }
}

/** Tells every 30 s of a start that takes long, with the last thing that was seen of it. */
export class StartProgress {
  readonly #starts = new Map<string, Start>()

  constructor(
    private readonly log: Log,
    private readonly clock: Timers,
    private readonly tails: StderrTails,
  ) {}

  /** @param changed default all of them */
  observe({ upstreams }: Snapshot, changed: Iterable<string> = upstreams.keys()): void {
    for (const name of changed) {
      const view = upstreams.get(name)
      const known = this.#starts.get(name)
      if (view?.state === 'starting' && !known) this.#begin(view)
      else if (view?.state !== 'starting' && known) this.#end(name, known)
      if (!view) this.tails.forget(name)
    }
  }

  stop(): void {
    for (const [name, start] of this.#starts) this.#end(name, start)
  }

  #begin({ name, lastError }: UpstreamView): void {
    const start: Start = {
      startedAt: this.clock.now(),
      written: this.tails.written(name),
      before: lastError?.message ?? null,
      timer: { cancel: () => undefined },
    }
    const arm = () => {
      start.timer = this.clock.after(EVERY_MS, () => {
        this.#tell(name, start)
        arm()
      })
    }
    this.#starts.set(name, start)
    arm()
  }

  #end(name: string, start: Start): void {
    start.timer.cancel()
    this.#starts.delete(name)
  }

  #tell(upstream: string, start: Start): void {
    const seconds = Math.round((this.clock.now() - start.startedAt) / 1_000)
    const message = `still starting after ${seconds} s; ${this.#lastSeen(upstream, start)}`
    this.log({ level: 'info', upstream, message })
  }

  #lastSeen(upstream: string, { written, before }: Start): string {
    const line = this.tails.written(upstream) > written ? this.tails.lines(upstream).at(-1) : undefined
    if (line !== undefined) return `its last line: ${line}`
    return before === null ? 'it has said nothing so far' : `nothing since the last try: ${before}`
  }
}
