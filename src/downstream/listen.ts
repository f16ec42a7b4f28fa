import { type Bytes, type Caller, GatewayError, type Kind, LIMITS, type Scope } from '../model/index.js'
import type { Clock, GatewayCore, RunningCall } from '../runtime/ports.js'
import {
  type Envelope,
  editObject,
  elementsAt,
  json,
  member,
  notificationMessage,
  objectAt,
  parseAt,
  slice,
  stringAt,
  typeAt,
} from '../wire/index.js'
import { ChangeTeller } from './changes.js'
import { modernMeta, type ServerInfo } from './eras/modern.js'
import { type Final, rpcError } from './failures.js'
import { Followed, tooManySubscriptions } from './followed.js'
import type { AnswerSink } from './sink.js'

const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId'
const LISTS = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'] as const
const FILTER = 'params.notifications.resourceSubscriptions'

export interface ListenRequest {
  readonly envelope: Envelope
  /** Raw. */
  readonly id: Bytes
  readonly scope: Scope
  readonly caller: Caller
  readonly sink: AnswerSink
  readonly info: ServerInfo
  answer(final: Final): void
  /** It is over, in whatever way. */
  left(): void
}

/** What a client wants to be told. */
export interface Filter {
  readonly lists: Readonly<Record<string, true>>
  readonly uris: readonly string[]
}

/**
 * What `params.notifications` asks for.
 * @throws GatewayError when it cannot be told
 */
export function filterOf({ params, bytes }: Envelope): Filter {
  const found = params && member(params, 'notifications')
  if (!params || !found || typeAt(bytes, found) !== 'object') return { lists: {}, uris: [] }
  const asked = objectAt(bytes, found)
  const lists: Record<string, true> = {}
  for (const name of LISTS) {
    const entry = member(asked, name)
    if (entry && parseAt(bytes, entry) === true) lists[name] = true
  }
  const entry = member(asked, 'resourceSubscriptions')
  if (!entry) return { lists, uris: [] }
  if (typeAt(bytes, entry) !== 'array')
    throw new GatewayError('INVALID_PARAMS', `${FILTER} must be an array.`)
  const uris = elementsAt(bytes, entry).map(span => {
    const uri = stringAt(bytes, span)
    if (uri === undefined) throw new GatewayError('INVALID_PARAMS', `${FILTER} must hold strings.`)
    return uri
  })
  const unique = [...new Set(uris)]
  if (unique.length > LIMITS.subscriptionsPerClient) throw tooManySubscriptions()
  return { lists, uris: unique }
}

/** One `subscriptions/listen` of a client: acknowledged first, then told what it asked for and nothing else. */
export class Listening implements RunningCall {
  readonly #followed: Followed
  readonly #changes: ChangeTeller
  #unwatch: () => void = () => undefined
  #acknowledged = false
  #over = false
  /** What came before the acknowledgement, by slot. */
  readonly #early = new Map<string, Bytes>()
  /** `_meta` of every message: the subscription's id is the id of the request, in the same JSON type. */
  readonly #tag: Record<string, unknown>

  constructor(
    core: GatewayCore,
    clock: Clock,
    private readonly request: ListenRequest,
    private readonly filter: Filter,
  ) {
    const { id, scope, caller } = request
    this.#tag = { [SUBSCRIPTION_ID]: parseAt(id, { start: 0, end: id.length }) }
    const tagged = json({ _meta: this.#tag })
    this.#changes = new ChangeTeller(clock, list =>
      this.#tell(notificationMessage(`notifications/${list}/list_changed`, tagged), `${list} ${tagged}`),
    )
    this.#followed = new Followed(core, scope, caller, (_uri, params) => this.#updated(params))
    const heard = (kind: Kind) => {
      const list = kind === 'resourceTemplates' ? 'resources' : kind
      if (filter.lists[`${list}ListChanged`]) this.#changes.note(kind)
    }
    this.#unwatch = core.onListChanged(scope, heard, caller)
  }

  start(): void {
    const { uris } = this.filter
    const honoured = new Set<string>()
    let open = uris.length
    if (open === 0) return this.#acknowledge([])
    for (const uri of uris) {
      this.#followed.add(uri, refusal => {
        if (!refusal) honoured.add(uri)
        open -= 1
        if (open === 0) this.#acknowledge(uris.filter(each => honoured.has(each)))
      })
    }
  }

  /** The client went away. */
  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#unwatch()
    this.#changes.stop()
    this.#followed.end()
    this.#early.clear()
    this.request.left()
  }

  /** Gracefully: with a result. */
  end(): void {
    if (this.#over) return
    this.cancel()
    const { info, answer } = this.request
    answer({ result: json({ resultType: 'complete', _meta: { ...modernMeta(info), ...this.#tag } }) })
  }

  #acknowledge(uris: readonly string[]): void {
    if (this.#over) return
    const honoured = { ...this.filter.lists, ...(uris.length > 0 ? { resourceSubscriptions: uris } : {}) }
    const params = json({ _meta: this.#tag, notifications: honoured })
    const { sink, answer } = this.request
    if (!sink.interim(notificationMessage('notifications/subscriptions/acknowledged', params), null)) {
      this.cancel()
      return answer(NO_STREAM)
    }
    this.#acknowledged = true
    for (const [slot, message] of this.#early) sink.interim(message, slot)
    this.#early.clear()
  }

  #updated(params: Bytes): void {
    const object = objectAt(params)
    const meta = member(object, '_meta')
    const tag = Object.entries(this.#tag).map(([key, value]) => [key, json(value)] as const)
    const tagged = meta ? editObject(objectAt(params, meta), undefined, tag) : json(this.#tag)
    const message = notificationMessage(
      'notifications/resources/updated',
      editObject(object, undefined, [['_meta', tagged]]),
    )
    const uri = member(object, 'uri')
    this.#tell(message, `${uri ? Buffer.from(slice(params, uri)) : ''} ${json(this.#tag)}`)
  }

  #tell(message: Bytes, slot: string): void {
    if (this.#over) return
    if (this.#acknowledged) this.request.sink.interim(message, slot)
    else this.#early.set(slot, message)
  }
}

const NO_STREAM: Final = {
  error: rpcError(-32600, 'subscriptions/listen is answered by an event stream; accept text/event-stream.'),
  status: 406,
}
