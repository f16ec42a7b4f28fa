import type { Program, VirtualProcess } from '../virtual-process.js'
import { type App, CALLS, type Message, type Mood, type RequestFault } from './app.js'
import { type Lane, work } from './work.js'

const KNOWN: readonly RequestFault[] = [
  'hang',
  'late',
  'twice',
  'other-id',
  'text-id',
  'both-members',
  'garbage',
  'die-before',
  'die-after',
  'half',
]

export interface StdioTraits {
  /** Ends on SIGTERM. */
  readonly polite: boolean
  /** Starts a helper that outlives it and holds its pipes. */
  readonly forks: boolean
  /** Ends when something other than `initialize` comes first. */
  readonly diesOnProbe: boolean
  /** Goes on with work that was cancelled, and answers it. */
  readonly ignoresCancel: boolean
}

/** An MCP server on stdin and stdout. */
export class StdioServer implements Program {
  #process: VirtualProcess | null = null
  #greeted = false
  /** Tokens of requests that were cancelled. */
  readonly #cancelled = new Set<unknown>()
  readonly #listens = new Map<unknown, boolean>()

  constructor(
    private readonly app: App,
    private readonly mood: Mood,
    private readonly traits: StdioTraits,
    private readonly running: Set<StdioServer>,
  ) {}

  begin(process: VirtualProcess): void {
    this.#process = process
    if (this.mood.condition === 'down') {
      process.complain('cannot reach its database')
      process.exit(1)
      return
    }
    this.running.add(this)
    if (this.traits.forks) process.fork()
  }

  line(text: string): void {
    if (this.mood.condition === 'mute') return
    const message = JSON.parse(text) as Message
    if (message.method === undefined) return
    if (message.id === undefined) return this.#notified(message)
    if (CALLS.has(message.method)) this.app.called(message)
    if (message.method === 'initialize') this.#greeted = true
    if (!this.#greeted && this.traits.diesOnProbe && this.app.era === 'legacy') return this.crash(3)
    if (message.method === 'subscriptions/listen' && this.app.era === 'modern') return this.#listen(message)
    work(this.app, message, this.mood.faultFor(message.method, KNOWN), this.#lane(message.id))
  }

  inputEnd(): void {
    this.#leave()
    this.#process?.after(5, () => this.#process?.exit(0))
  }

  terminates(): boolean {
    if (this.traits.polite) this.#leave()
    return this.traits.polite
  }

  crash(code: number): void {
    this.#leave()
    this.app.died()
    this.#process?.complain('panic: out of luck')
    this.#process?.exit(code)
  }

  get process(): VirtualProcess | null {
    return this.#process
  }

  /** Tells that its tools changed, in the way of its era. */
  changed(): void {
    const method = 'notifications/tools/list_changed'
    if (this.app.era === 'legacy') {
      if (this.#greeted) this.#process?.say({ jsonrpc: '2.0', method })
      return
    }
    for (const id of this.#listens.keys()) {
      const _meta = { 'io.modelcontextprotocol/subscriptionId': id }
      this.#process?.say({ jsonrpc: '2.0', method, params: { _meta } })
    }
  }

  #leave(): void {
    this.running.delete(this)
  }

  #notified({ method, params }: Message): void {
    if (method !== 'notifications/cancelled') return
    const id = params?.['requestId']
    this.#listens.delete(id)
    if (!this.traits.ignoresCancel) this.#cancelled.add(id)
  }

  #listen({ id }: Message): void {
    this.#listens.set(id, true)
    this.#process?.say({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id } },
    })
  }

  #lane(id: unknown): Lane {
    const process = this.#process as VirtualProcess
    return {
      after: (ms, fn) =>
        process.after(ms, () => {
          if (!this.#cancelled.has(id) && this.mood.condition !== 'mute') fn()
        }),
      interim: message => process.say(message),
      answer: message => process.say(message),
      breaks: fault => this.#break(fault, id),
      ask: null,
    }
  }

  #break(fault: RequestFault, id: unknown): void {
    const process = this.#process as VirtualProcess
    switch (fault) {
      case 'garbage':
        return process.write('Listening on port 3000...\n{"jsonrpc":"2.0","id":\n')
      case 'half':
        process.write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"resu`)
        return this.crash(4)
      default:
        return this.crash(2)
    }
  }
}
