import type { Bytes, Caller, Scope } from '../model/index.js'
import type { GatewayCore } from '../runtime/ports.js'
import { asBuffer, type Envelope, notificationMessage } from '../wire/index.js'
import { retoken } from './eras/modern.js'
import { Lane, type Pace } from './pace.js'
import type { AnswerSink } from './sink.js'

/** What one call tells its client before the answer: progress and logs, each at a bounded pace, the last one kept. */
export class CallNotes {
  #progress: Lane | null = null
  #log: Lane | null = null

  constructor(
    private readonly pace: Pace,
    private readonly core: GatewayCore,
    private readonly scope: Scope,
    private readonly caller: Caller,
    private readonly envelope: Envelope,
    private readonly sink: AnswerSink,
  ) {}

  /** @param token the client's own, raw */
  progress(params: Bytes, token: Bytes): void {
    if (this.pace.load.level > 0) return
    this.#progress ??= this.#lane(`p${asBuffer(token).toString('latin1')}`, 'notifications/progress', bytes =>
      retoken(bytes, token),
    )
    this.#progress.put(params)
  }

  log(params: Bytes): void {
    const { id } = this.envelope
    this.#log ??= this.#lane(`l${JSON.stringify(id)}`, 'notifications/message', bytes => bytes)
    this.#log.put(params)
  }

  /** The answer comes now: what is held goes before it. */
  flush(): void {
    this.#log?.flush()
    this.#progress?.flush()
  }

  /** There will be no answer. */
  drop(): void {
    this.#log?.drop()
    this.#progress?.drop()
  }

  #lane(slot: string, method: string, change: (params: Bytes) => Bytes): Lane {
    const upstream = ownerOf(this.core, this.scope, this.caller, this.envelope)
    return new Lane(this.pace, upstream, params => {
      this.sink.interim(notificationMessage(method, change(params)), slot)
    })
  }
}

/** The server that a call goes to; all reads of templates together, whose owner only the runtime knows. */
function ownerOf(core: GatewayCore, scope: Scope, caller: Caller, { method, name, uri }: Envelope): string {
  if (scope.kind === 'server') return scope.name
  const { byKey } = core.snapshotFor(caller).catalog
  if (name !== null) return (method === 'prompts/get' ? byKey.prompts : byKey.tools).get(name)?.upstream ?? ''
  return (uri === null ? undefined : byKey.resources.get(uri)?.upstream) ?? ''
}
