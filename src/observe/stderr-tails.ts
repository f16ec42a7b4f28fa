import { LIMITS } from '../model/index.js'

/** The last lines that each server wrote to stderr, within LIMITS.stderrRingBytes a server. */
export class StderrTails {
  readonly #tails = new Map<string, { lines: string[]; bytes: number }>()

  add(upstream: string, line: string): void {
    let tail = this.#tails.get(upstream)
    if (!tail) {
      tail = { lines: [], bytes: 0 }
      this.#tails.set(upstream, tail)
    }
    tail.lines.push(line)
    tail.bytes += Buffer.byteLength(line) + 1
    while (tail.bytes > LIMITS.stderrRingBytes && tail.lines.length > 1) {
      tail.bytes -= Buffer.byteLength(tail.lines.shift() ?? '') + 1
    }
  }

  lines(upstream: string): readonly string[] {
    return this.#tails.get(upstream)?.lines ?? []
  }
}
