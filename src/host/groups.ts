import { setTimeout as pause } from 'node:timers/promises'
import { endWithProcess, hasEnded } from './last-resort.js'
import type { Ledger } from './ledger.js'
import { factsOf, livingMembers } from './proc.js'

const FIRST_LOOK_MS = 10
const LAST_LOOK_MS = 500
const SETTLE_MS = 500
const LEAST_DISK_MS = 50

interface Group {
  readonly start: string | null
  /** The next look whether the rest of the group has gone after its leader. */
  look: NodeJS.Timeout | null
}

/** The process groups of one gateway, each from its start until its last member is gone. */
export class Groups {
  readonly #groups = new Map<number, Group>()
  readonly #watchers = new Set<() => void>()

  /** @param ledger null where none can be kept */
  constructor(private readonly ledger: Ledger | null) {}

  get size(): number {
    return this.#groups.size
  }

  /** Right after the spawn: the pid is ours until its exit was collected, so what /proc says of it is true. */
  started(pid: number, command: string): void {
    const start = factsOf(pid)?.start ?? null
    this.#groups.set(pid, { start, look: null })
    endWithProcess(pid, start)
    if (start !== null) this.ledger?.add({ pid, start, command })
  }

  /** The leader is gone; the group may live on. */
  leaderGone(pid: number): void {
    this.#lookAgain(pid, FIRST_LOOK_MS)
  }

  /** Told whenever a group has ended. */
  onEnded(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  #lookAgain(pid: number, afterMs: number): void {
    const group = this.#groups.get(pid)
    if (!group) return
    if (!groupAlive(pid, true)) return this.#ended(pid)
    group.look = setTimeout(() => this.#lookAgain(pid, Math.min(afterMs * 2, LAST_LOOK_MS)), afterMs)
    group.look.unref()
  }

  #ended(pid: number): void {
    this.#groups.delete(pid)
    hasEnded(pid)
    this.ledger?.remove(pid)
    for (const watcher of [...this.#watchers]) watcher()
  }

  /**
   * Waits a moment for groups that were just killed, and for the disk; what is left then is left to the next gateway.
   * A disk that hangs must not hold up the end.
   */
  async settle(): Promise<void> {
    const until = performance.now() + SETTLE_MS
    while (this.#groups.size > 0 && performance.now() < until) await pause(FIRST_LOOK_MS)
    for (const { look } of this.#groups.values()) if (look) clearTimeout(look)
    const giveUp = new AbortController()
    const late = pause(Math.max(until - performance.now(), LEAST_DISK_MS), undefined, giveUp)
    await Promise.race([this.ledger?.settled(), late.catch(() => undefined)])
    giveUp.abort()
  }
}

/**
 * True while any process of the group lives.
 * @param leaderGone its leader was collected: zombies of others, which nobody may ever collect, do not count then
 */
export function groupAlive(pid: number, leaderGone: boolean): boolean {
  try {
    process.kill(-pid, 0)
  } catch (cause) {
    // EPERM: something of the group lives, but is not ours any more.
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
  // Without /proc there are no facts of ourselves either.
  return !leaderGone || factsOf(process.pid) === null || livingMembers(pid).length > 0
}
