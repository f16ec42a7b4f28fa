import { setTimeout as delay } from 'node:timers/promises'
import { PATIENCE_MS } from './until.js'

/** One thing that a fake saw or did. Which members it has depends on `kind`. */
export interface FakeRecord {
  readonly kind:
    | 'start'
    | 'exit'
    | 'grandchild'
    | 'stdin-end'
    | 'sigterm'
    | 'connection'
    | 'http'
    | 'stream'
    | 'session'
    | 'session-end'
    | 'request'
    | 'notification'
    | 'response'
    | 'refused'
    | 'run'
    | 'cancelled'
    | 'disconnected'
    | 'unparsable'
    | 'fault-of-the-fake'
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly pid: number
  readonly spawn?: number
  readonly method?: string
  readonly id?: string | number
  readonly tool?: string
  readonly era?: 'legacy' | 'modern'
  readonly session?: string | null
  /** Raw text of the message and of its params. */
  readonly raw?: string
  readonly params?: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly verb?: string
  readonly url?: string
  /** `notification`, `disconnect`, `delete`, `dropped`. */
  readonly how?: string
  readonly n?: number
  readonly args?: string | null
  readonly grandchild?: number
  readonly code?: number
  readonly signal?: string
  readonly message?: string
  /** A request of an era that the fake does not speak. */
  readonly refused?: boolean
  readonly argv?: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Everything that a fake recorded so far, oldest first. */
export class Records {
  constructor(private readonly read: () => readonly FakeRecord[]) {}

  get all(): readonly FakeRecord[] {
    return this.read()
  }

  ofKind(kind: FakeRecord['kind']): readonly FakeRecord[] {
    return this.read().filter(record => record.kind === kind)
  }

  /** Requests and notifications with that method. */
  of(method: string): readonly FakeRecord[] {
    return this.read().filter(
      ({ kind, method: its }) => (kind === 'request' || kind === 'notification') && its === method,
    )
  }

  count(method: string): number {
    return this.of(method).length
  }

  /** Requests to call that tool, whether it ran or not. */
  callsOf(tool: string): readonly FakeRecord[] {
    return this.of('tools/call').filter(record => record.tool === tool)
  }

  /** How often the tool ran: its side effects. */
  runs(tool: string): number {
    return this.ofKind('run').filter(record => record.tool === tool).length
  }

  get cancelled(): readonly FakeRecord[] {
    return this.ofKind('cancelled')
  }

  /** Sessions that were opened, HTTP and SSE. */
  get sessions(): readonly string[] {
    return this.ofKind('session').map(record => record.session ?? '')
  }

  /** Pid of each start of a stdio fake. */
  get pids(): readonly number[] {
    return this.ofKind('start').map(record => record.pid)
  }

  get spawns(): number {
    return this.ofKind('start').length
  }

  /** Resolves with the first truthy answer of `look`; rejects with what was recorded when there is none in time. */
  async waitFor<T>(look: (records: Records) => T, timeoutMs = PATIENCE_MS): Promise<T> {
    const end = Date.now() + timeoutMs
    for (;;) {
      const found = look(this)
      if (found) return found
      if (Date.now() > end)
        throw new Error(`The fake did not see it in ${timeoutMs} ms. It saw:\n${this.toString()}`)
      await delay(10)
    }
  }

  toString(): string {
    return this.read()
      .map(({ kind, method, tool, how, verb, url, raw }) =>
        [kind, method, tool, how, verb, url, raw?.slice(0, 200)].filter(Boolean).join(' '),
      )
      .join('\n')
  }
}
