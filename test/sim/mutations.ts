/** A fault put into the gateway, to see that the checker finds it. */
export interface Mutation {
  readonly title: string
  readonly file: string
  /** Stands in the file exactly once. */
  readonly find: string
  readonly replace: string
  /** What the checker must say of it. */
  readonly breaks: string
}

export const MUTATIONS: readonly Mutation[] = [
  {
    title: 'a call with an unknown outcome is made again',
    file: 'src/core/retry/decide.ts',
    find: "return safety !== 'unsafe' && !streamed && repeats === 0",
    replace: 'return !streamed && repeats === 0',
    breaks: 'P4',
  },
  {
    title: 'a request that was given to a socket counts as never sent',
    file: 'src/upstream/transports/http-faults.ts',
    find: 'return { phase, reason, message, cause,',
    replace: "return { phase: 'never-sent', reason, message, cause,",
    breaks: 'P4',
  },
  {
    title: 'an HTTP 500 counts as not processed',
    file: 'src/upstream/transports/http-faults.ts',
    find: 'lost || REJECTED.has(status) ||',
    replace: 'lost || status >= 400 ||',
    breaks: 'P4',
  },
  {
    title: 'cancelled requests leave no tombstone',
    file: 'src/upstream/cancelled.ts',
    find: 'this.#graves.set(id, { at: this.clock.now(), cancelled, answered: false })',
    replace: 'this.#graves.delete(id)',
    breaks: 'F19',
  },
  {
    title: 'ids of one connection are used again',
    file: 'src/upstream/connection.ts',
    find: '    const id = this.#nextId++\n    if (this.#over)',
    replace: '    const id = this.#nextId++ % 3\n    if (this.#over)',
    breaks: 'P3',
  },
  {
    title: 'the requests of all clients on stdio share one table of ids',
    file: 'src/downstream/transports/stdio.ts',
    find: 'readonly #running = new SmallTable<JsonRpcId, RunningCall>()',
    replace: 'readonly #running: Map<JsonRpcId, RunningCall> = ((globalThis as any).sharedIds ??= new Map())',
    breaks: 'P12',
  },
  {
    title: 'progress keeps the token of the hop to the server',
    file: 'src/downstream/call-notes.ts',
    find: 'retoken(bytes, token)',
    replace: 'bytes',
    breaks: 'P7',
  },
  {
    title: 'retries have no budget',
    file: 'src/core/retry/budget.ts',
    find: 'if (this.#retrying >= Math.max(AT_LEAST, Math.floor(active * SHARE))) return false',
    replace: 'if (active < 0) return false',
    breaks: 'F36',
  },
  {
    title: 'the end of a child is not noticed',
    file: 'src/upstream/transports/stdio.ts',
    find: 'exit: (code, signal) => this.#exited(code, signal),',
    replace: 'exit: () => undefined,',
    breaks: 'P3',
  },
  {
    title: 'calls wait for ever',
    file: 'src/runtime/calls/attempt.ts',
    find: 'timer = clock.after(due - now, arm)',
    replace: 'timer = clock.after(due + 1e9, arm)',
    breaks: 'P3',
  },
  {
    title: 'what a child leaves behind is not killed with it',
    file: 'src/upstream/transports/stdio.ts',
    find: "    this.#child?.killGroup('SIGKILL')\n    this.#child?.release()\n    if (this.#onStart)",
    replace: '    this.#child?.release()\n    if (this.#onStart)',
    breaks: 'I7',
  },
  {
    title: 'a server that failed is not tried again',
    file: 'src/runtime/lifecycle.ts',
    find: "this.feed({ kind: 'timer-fired', epoch })",
    replace: "this.feed({ kind: 'timer-fired', epoch: -1 })",
    breaks: 'P5',
  },
  {
    title: 'who asks to be left alone is not',
    file: 'src/runtime/health-watch.ts',
    find: 'this.closedUntil = Math.max(this.closedUntil, this.#clock.now() + ms)',
    replace: 'this.closedUntil = Math.min(this.closedUntil, ms)',
    breaks: 'F37',
  },
  {
    title: 'a line that met a closed input counts as sent',
    file: 'src/upstream/transports/stdin-queue.ts',
    find: '    this.#lines = lines\n    this.#bytes = batch.length\n',
    replace: '',
    breaks: 'F13',
  },
  {
    title: 'a date of a server counts from the clock on our wall',
    file: 'src/upstream/retry-after.ts',
    find: "(dateIn(headers?.['date']?.trim() ?? '') ?? wallTime)",
    replace: 'wallTime',
    breaks: 'F37-date',
  },
  {
    title: 'lists wait for every server',
    file: 'src/runtime/listing.ts',
    find: 'const left = this.#worthWaitingUntil(scope) - this.room.clock.now()',
    replace: 'const left = 30_000',
    breaks: 'P3',
  },
]
