import { SmallTable } from '../core/tables/index.js'
import type { Ask, Bytes, Kind, Reply, Scope } from '../model/index.js'
import type { RunningCall } from '../runtime/ports.js'
import {
  type Envelope,
  type JsonRpcId,
  json,
  member,
  notificationMessage,
  objectAt,
  requestMessage,
  slice,
} from '../wire/index.js'
import { rpcError } from './failures.js'
import type { AnswerSink } from './sink.js'

/** Capability that a client must have declared for each question. */
const ASKABLE: Readonly<Record<string, string>> = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
}

const CHANGED: Readonly<Record<Kind, string>> = {
  tools: 'notifications/tools/list_changed',
  prompts: 'notifications/prompts/list_changed',
  resources: 'notifications/resources/list_changed',
  resourceTemplates: 'notifications/resources/list_changed',
}

/** One legacy client after `initialize`: what it declared, what it runs, and what it has been asked. */
export class LegacySession {
  readonly running = new SmallTable<JsonRpcId, RunningCall>()
  logLevel: string | null = null
  /** Whether there is anything that this client could be asked. */
  readonly canBeAsked: boolean
  /** Where notifications go that belong to no request; null while there is no such stream. */
  channel: ((message: Bytes) => void) | null = null
  readonly #asks = new Map<number, (reply: Reply) => void>()
  readonly #unsaid = new Set<string>()
  #nextAsk = 1
  #leave: (() => void) | null = null

  constructor(
    readonly id: string,
    readonly scope: Scope,
    readonly principal: string,
    readonly version: string,
    readonly capabilities: Bytes,
    readonly clientInfo: Bytes | undefined,
  ) {
    const declared = objectAt(capabilities)
    this.canBeAsked = Object.values(ASKABLE).some(key => member(declared, key) !== undefined)
  }

  get busy(): boolean {
    return this.running.size > 0 || this.channel !== null
  }

  /** From now on changed lists are told. */
  watch(onListChanged: (listener: (kind: Kind) => void) => () => void): void {
    this.#leave ??= onListChanged(kind => this.#tell(CHANGED[kind]))
  }

  openChannel(channel: (message: Bytes) => void): void {
    this.channel = channel
    for (const method of this.#unsaid) channel(notificationMessage(method, null))
    this.#unsaid.clear()
  }

  /** Puts a server's question to the client, on the stream of the request that it belongs to. */
  ask(question: Ask, sink: AnswerSink): void {
    const needed = ASKABLE[question.method]
    if (!needed || !member(objectAt(this.capabilities), needed)) {
      question.respond({
        error: rpcError(-32601, `The client cannot be asked: it did not declare ${needed}.`),
      })
      return
    }
    const id = this.#nextAsk++
    this.#asks.set(id, question.respond)
    if (sink.interim(requestMessage(id, question.method, question.params), false)) return
    this.#asks.delete(id)
    question.respond({ error: rpcError(-32601, 'The client cannot be asked: it takes no event stream.') })
  }

  /** The client's answer to a question; answers to nothing are dropped. */
  answered({ id, bytes, result, error }: Envelope): void {
    const respond = typeof id === 'number' ? this.#asks.get(id) : undefined
    if (typeof id !== 'number' || !respond) return
    this.#asks.delete(id)
    if (result) respond({ result: slice(bytes, result) })
    else if (error) respond({ error: slice(bytes, error) })
  }

  cancel(requestId: JsonRpcId, reason: string): void {
    this.running.delete(requestId)?.cancel(reason)
  }

  end(reason: string): void {
    this.#leave?.()
    this.#leave = null
    this.channel = null
    for (const running of this.running.values()) running.cancel(reason)
    this.running.clear()
    for (const respond of this.#asks.values()) respond({ error: json({ code: -32603, message: reason }) })
    this.#asks.clear()
  }

  #tell(method: string): void {
    if (this.channel) this.channel(notificationMessage(method, null))
    else this.#unsaid.add(method)
  }
}
