/** What the gateway holds of the machine at this moment, and the chance to refuse it something. */
export class Ledger {
  readonly timers = new Set<object>()
  /** Pids of processes that live, with their command. */
  readonly processes = new Map<number, string>()
  /** Children whose pipes were not let go of. */
  readonly pipes = new Set<object>()
  readonly pools = new Set<object>()
  readonly exchanges = new Set<object>()
  spawns = 0
  dials = 0
  wallSkewMs = 0
  /** Operations of the machine so far: spawns, writes, dials, chunks. */
  operations = 0
  /** The operation that fails, by its number; 0 = none. */
  failing = 0
  failed: { readonly what: string; readonly upstream: string } | null = null

  /** Counts one operation for a server. @returns true when this is the one that fails */
  operate(what: string, upstream: string): boolean {
    this.operations += 1
    if (this.operations !== this.failing) return false
    this.failed = { what, upstream }
    return true
  }

  /** Everything that is still held, in words. */
  held(): string[] {
    return [
      ...count('timers', this.timers.size),
      ...count('children with open pipes', this.pipes.size),
      ...[...this.processes].map(([pid, command]) => `process ${pid} of ${command} lives`),
      ...count('connection pools', this.pools.size),
      ...count('HTTP exchanges', this.exchanges.size),
    ]
  }
}

function count(what: string, size: number): string[] {
  return size === 0 ? [] : [`${size} ${what}`]
}
