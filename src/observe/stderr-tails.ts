import { LIMITS } from '../model/index.js'

interface Tail {
  lines: string[]
  bytes: number
  /** Lines so far, those that were dropped included. */
  written: number
}

/** The last lines that each server wrote to stderr, within LIMITS.stderrRingBytes a server. */
export class StderrTails {
  readonly #tails = new Map<string, Tail>()
  readonly #followers = new Map<string, Set<(line: string) => void>>()

  add(upstream: string, line: string): void {
    let tail = this.#tails.get(upstream)
    if (!tail) {
      tail = { lines: [], bytes: 0, written: 0 }
      this.#tails.set(upstream, tail)
    }
    tail.written += 1
    tail.lines.push(line)
    tail.bytes += Buffer.byteLength(line) + 1
    while (tail.bytes > LIMITS.stderrRingBytes && tail.lines.length > 1) {
      tail.bytes -= Buffer.byteLength(tail.lines.shift() ?? '') + 1
    }
    for (const follower of [...(this.#followers.get(upstream) ?? [])]) follower(line)
  }

  lines(upstream: string): readonly string[] {
    return this.#tails.get(upstream)?.lines ?? []
  }

  /** How many lines it has written since the gateway started. */
  written(upstream: string): number {
    return this.#tails.get(upstream)?.written ?? 0
  }

  /** It is configured no more; what it says on its way out begins a new tail. */
  forget(upstream: string): void {
    this.#tails.delete(upstream)
  }

  /** Tells each later line. Returns the way to stop it. */
  follow(upstream: string, follower: (line: string) => void): () => void {
    const followers = this.#followers.get(upstream) ?? new Set()
    this.#followers.set(upstream, followers)
    followers.add(follower)
    return () => {
      followers.delete(follower)
      if (followers.size === 0 && this.#followers.get(upstream) === followers)
        this.#followers.delete(upstream)
    }
  }
}
