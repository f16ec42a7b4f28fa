import type { Use } from '../core/session/index.js'
import { SmallTable } from '../core/tables/index.js'
import type { Ask, Bytes, Caller, Kind, Outcome, Reply, Scope } from '../model/index.js'
import type { Clock, GatewayCore, RunningCall } from '../runtime/ports.js'
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
import { ChangeTeller, type ListName } from './changes.js'
import { rpcError } from './failures.js'
import { Followed } from './followed.js'
import type { AnswerSink } from './sink.js'

/** Capability that a client must have declared for each question. */
const ASKABLE: Readonly<Record<string, string>> = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
}

const UPDATED = 'notifications/resources/updated'

interface Pending {
  readonly respond: (reply: Reply) => void
  /** The answer to the request that the question belongs to. */
  readonly sink: AnswerSink
}

/** One request of the session. */
export interface SessionRequest extends RunningCall {
  /** The gateway stops: answers it, unless its server's end has done so already or will. */
  stop(): void
}

/** Where notifications go that belong to no request. */
export interface Channel {
  /** @param slot see `AnswerSink.interim` */
  send(message: Bytes, slot: string | null): void
  /** The session is over. */
  end(): void
}

/** One legacy client after `initialize`: what it declared, what it runs, and what it has been asked. */
export class LegacySession {
  readonly running = new SmallTable<JsonRpcId, SessionRequest>()
  logLevel: string | null = null
  /** Whether there is anything that this client could be asked. */
  readonly canBeAsked: boolean
  #channel: Channel | null = null
  readonly #asks = new Map<number, Pending>()
  /** What there was to tell while there was no channel, by what it is about: lists, and resources that are followed. */
  readonly #unsaid = new Map<string, Bytes>()
  readonly #changes: ChangeTeller
  #nextAsk = 1
  #leave: (() => void) | null = null
  #followed: Followed | null = null

  constructor(
    readonly id: string,
    readonly scope: Scope,
    readonly caller: Caller,
    readonly version: string,
    readonly capabilities: Bytes,
    readonly clientInfo: Bytes | undefined,
    clock: Clock,
  ) {
    this.#changes = new ChangeTeller(clock, list => this.#tell(list))
    const declared = objectAt(capabilities)
    this.canBeAsked = Object.values(ASKABLE).some(key => member(declared, key) !== undefined)
  }

  get use(): Use {
    if (this.running.size > 0) return 'working'
    return this.#channel ? 'listening' : 'idle'
  }

  /** From now on changed lists are told. */
  watch(onListChanged: (listener: (kind: Kind) => void) => () => void): void {
    this.#leave ??= onListChanged(kind => this.#changes.note(kind))
  }

  /** From now on, or no more, changes of that resource are told. @param settled as in `Followed.add` */
  follow(core: GatewayCore, uri: string, settled: (refusal: Outcome | null) => void): void {
    this.#followed ??= new Followed(core, this.scope, this.caller, (about, params) =>
      this.#tellUpdate(about, params),
    )
    this.#followed.add(uri, settled)
  }

  unfollow(uri: string): void {
    this.#followed?.drop(uri)
    this.#unsaid.delete(slotOf(uri))
  }

  openChannel(channel: Channel): void {
    this.#channel = channel
    for (const [slot, message] of this.#unsaid) channel.send(message, slot)
    this.#unsaid.clear()
  }

  /** Does nothing when another channel has taken its place. */
  closeChannel(channel: Channel): void {
    if (this.#channel === channel) this.#channel = null
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
    this.#asks.set(id, { respond: question.respond, sink })
    if (sink.interim(requestMessage(id, question.method, question.params), null)) return
    this.#asks.delete(id)
    question.respond({
      error: rpcError(
        -32601,
        'The client cannot be asked: it takes no event stream, or does not read the one that it has.',
      ),
    })
  }

  /** The client's answer to a question; answers to nothing are dropped. */
  answered({ id, bytes, result, error }: Envelope): void {
    const pending = typeof id === 'number' ? this.#asks.get(id) : undefined
    if (typeof id !== 'number' || !pending) return
    this.#asks.delete(id)
    if (result) pending.respond({ result: slice(bytes, result) })
    else if (error) pending.respond({ error: slice(bytes, error) })
  }

  /** The request that `sink` answers is over: nobody waits for its questions any more. */
  withdraw(sink: AnswerSink): void {
    for (const [id, pending] of this.#asks) {
      if (pending.sink !== sink) continue
      this.#asks.delete(id)
      pending.respond({ error: rpcError(-32603, 'The request that asked is over.') })
    }
  }

  cancel(requestId: JsonRpcId, reason: string): void {
    this.running.delete(requestId)?.cancel(reason)
  }

  /** Whoever still waits is told; `end` comes next. */
  stop(): void {
    for (const request of [...this.running.values()]) request.stop()
  }

  end(reason: string): void {
    this.#leave?.()
    this.#leave = null
    this.#changes.stop()
    this.#followed?.end()
    this.#unsaid.clear()
    this.#channel?.end()
    this.#channel = null
    for (const running of this.running.values()) running.cancel(reason)
    this.running.clear()
    for (const { respond } of this.#asks.values()) respond({ error: rpcError(-32603, reason) })
    this.#asks.clear()
  }

  #tell(list: ListName): void {
    if (this.#channel) this.#channel.send(changed(list), list)
    else this.#unsaid.set(list, changed(list))
  }

  #tellUpdate(uri: string, params: Bytes): void {
    const message = notificationMessage(UPDATED, params)
    if (this.#channel) return this.#channel.send(message, Buffer.from(params).toString())
    // Of several parts of it, in the end all that counts is that it changed.
    const slot = slotOf(uri)
    const before = this.#unsaid.get(slot)
    const same = !before || Buffer.compare(before, message) === 0
    this.#unsaid.set(slot, same ? message : notificationMessage(UPDATED, json({ uri })))
  }
}

function changed(list: ListName): Bytes {
  return notificationMessage(`notifications/${list}/list_changed`, null)
}

/** No list has such a name. */
function slotOf(uri: string): string {
  return `resource ${uri}`
}
