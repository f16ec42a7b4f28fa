import { approvalCommand } from '../../core/catalog/index.js'
import { couldHave, kindsOf, type Resolution, resolve, type Target } from '../../core/route/index.js'
import {
  type Call,
  type CatalogEntry,
  type Component,
  GatewayError,
  type HeldBecause,
  isGatewayError,
  type KindCatalog,
  LIMITS,
  type Outcome,
  type UpstreamSpec,
  type UpstreamView,
} from '../../model/index.js'
import { removed, throttled, unavailable } from '../failures.js'
import type { RunningCall, Timer } from '../ports.js'
import { renderResult } from '../rewrite.js'
import type { Store } from '../store.js'
import type { Supervisor } from '../supervisor.js'
import { Dispatch, type DispatchRoom } from './dispatch.js'
import { describeTarget, targetOf } from './target.js'

export interface CallRoom extends DispatchRoom {
  /** What servers offered that are configured no more. */
  readonly gone?: Store
  supervisor(name: string): Supervisor | undefined
  /** Why there is no supervisor for the caller although the server is configured. */
  refusal?(name: string): GatewayError | undefined
}

/** Runs one call to its one outcome. `reply` is never called from within `startCall`, nor after `cancel`. */
export function startCall(room: CallRoom, call: Call, reply: (outcome: Outcome) => void): RunningCall {
  let target: Target
  try {
    target = targetOf(call)
  } catch (thrown) {
    if (!isGatewayError(thrown)) throw thrown
    return refuseLater(thrown, reply)
  }
  return new CallInFlight(room, call, target, reply).start()
}

/** Answers in a later turn, as every call is. */
export function refuseLater(error: GatewayError, reply: (outcome: Outcome) => void): RunningCall {
  let cancelled = false
  queueMicrotask(() => {
    if (!cancelled) reply({ kind: 'never-sent', error })
  })
  return {
    cancel: () => {
      cancelled = true
    },
  }
}

interface Owner {
  readonly upstream: string
  readonly native: string
  readonly entry: CatalogEntry | null
}

class CallInFlight implements RunningCall {
  #dispatch: RunningCall | null = null
  #stopWaiting: (() => void) | null = null
  #over = false
  #sought = false
  /** A rest that was near its end when it was looked at: its list is on its way, whatever else happens meanwhile. */
  #awaitsRest = false
  readonly #woken: string[] = []

  constructor(
    private readonly room: CallRoom,
    private readonly call: Call,
    private readonly target: Target,
    private readonly reply: (outcome: Outcome) => void,
  ) {}

  start(): RunningCall {
    this.#route(this.room.host.clock.now())
    return this
  }

  cancel(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.#stopWaiting?.()
    this.#dispatch?.cancel(reason)
  }

  #finish(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.reply(outcome)
  }

  #refuse(error: GatewayError): void {
    queueMicrotask(() => this.#finish({ kind: 'never-sent', error }))
  }

  #route(startedAt: number): void {
    const resolution = resolve(this.room.store.current, this.call.context.scope, this.target)
    switch (resolution.kind) {
      case 'found':
        return this.#send(resolution, outcome => this.#finish(outcome))
      case 'ask-in-order':
        return this.#askInOrder(resolution.candidates, 0)
      case 'undecided':
        return this.#waitForOwner(resolution, startedAt)
      case 'unknown':
        return this.#seek(startedAt)
    }
  }

  /** It may have come without notice: lists that are not of this moment are fetched once before it is called unknown. */
  #seek(startedAt: number): void {
    const { scope } = this.call.context
    const refuse = () => this.#refuse(this.#removed() ?? notFound(this.target, []))
    if (this.#sought) return refuse()
    this.#sought = true
    const kinds = kindsOf(this.target)
    const names = couldHave(this.room.store.current, scope, this.target)
    const fetches = names.flatMap(name => this.room.supervisor(name)?.catalog.seek(kinds) ?? [])
    if (fetches.length === 0) return refuse()
    const then = () => {
      if (this.#stopWaiting !== stop) return
      stop()
      this.#route(startedAt)
    }
    const timer = this.room.host.clock.after(LIMITS.uncachedListMs, then)
    const stop = () => {
      timer.cancel()
      this.#stopWaiting = null
    }
    this.#stopWaiting = stop
    void Promise.all(fetches).then(then)
  }

  /** Whoever listed it before the reload is told what became of it. */
  #removed(): GatewayError | null {
    const { gone } = this.room
    const found = gone && resolve(gone.current, this.call.context.scope, this.target)
    return found?.kind === 'found' ? removed(found.upstream) : null
  }

  /** The name may belong to a server that is still starting: look again whenever something is known anew. */
  #waitForOwner(resolution: Extract<Resolution, { kind: 'undecided' }>, startedAt: number): void {
    const names = [...resolution.pending, ...resolution.unavailable]
    for (const name of names) this.#wake(name)
    const refusals = names.flatMap(name =>
      this.room.supervisor(name) ? [] : (this.room.refusal?.(name) ?? []),
    )
    const [full] = refusals
    if (full && refusals.length === names.length) return this.#refuse(full)
    const hold = names.some(name => this.#isSleeper(name)) ? LIMITS.holdStdioMs : LIMITS.resolveMs
    const left = startedAt + hold - this.room.host.clock.now()
    this.#awaitsRest ||= resolution.unavailable.some(
      name => this.#restMs(name) > 0 && this.#restMs(name) < left,
    )
    const coming =
      resolution.pending.length > 0 ||
      this.#awaitsRest ||
      resolution.unavailable.some(name => this.#isWaking(name))
    if (!coming || left <= 0) return this.#refuse(notFound(this.target, this.#unavailableErrors(names)))
    this.#waitForCommit(left, () => this.#route(startedAt))
  }

  /** A call may trigger a try; the one that did waits for it, the others are told the cause at once. */
  #wake(name: string): void {
    if (this.room.supervisor(name)?.demand()) this.#woken.push(name)
  }

  #isWaking(name: string): boolean {
    const state = this.room.supervisor(name)?.state
    if (this.#isSleeper(name)) return state === 'starting' || state === 'backoff'
    return this.#woken.includes(name) && state === 'starting'
  }

  /** A remote that scales to zero: its start may take long and fail at first. */
  #isSleeper(name: string): boolean {
    return this.room.supervisor(name)?.spec.supervision.wake === true
  }

  /** For how long a server that is connected wants to be left alone, its lists included. */
  #restMs(name: string): number {
    const supervisor = this.room.supervisor(name)
    return supervisor?.connection ? supervisor.watch.closedUntil - this.room.host.clock.now() : 0
  }

  #unavailableErrors(names: readonly string[]): GatewayError[] {
    const { store, host } = this.room
    return names.flatMap(name => {
      const restMs = this.#restMs(name)
      if (restMs > 0) return throttled(name, restMs)
      // Of a supervised one, as it is at this moment.
      const view = this.room.supervisor(name)?.view() ?? store.current.upstreams.get(name)
      return view ? unavailable(explained(view), host.clock.now()) : []
    })
  }

  #waitForCommit(ms: number, then: () => void): void {
    let timer: Timer | null = null
    const leave = this.room.store.onCommit(() => wake())
    const stop = () => {
      leave()
      timer?.cancel()
      this.#stopWaiting = null
    }
    const wake = () => {
      // Told twice by commits within commits: a second run of a call would be unforgivable.
      if (this.#stopWaiting !== stop) return
      stop()
      then()
    }
    timer = this.room.host.clock.after(ms, wake)
    this.#stopWaiting = stop
  }

  #send(owner: Owner, done: (outcome: Outcome) => void): void {
    const supervisor = this.room.supervisor(owner.upstream)
    if (!supervisor) return this.#refuse(this.room.refusal?.(owner.upstream) ?? removed(owner.upstream))
    const component = owner.entry?.component
    if (component?.held) return this.#refuse(held(supervisor.spec, component, component.held))
    const { call, target } = this
    const { reads } = supervisor.catalog
    const prefix = this.#prefixOf(supervisor)
    const kept = reads.find(call, owner.native)
    if (kept) return queueMicrotask(() => done(mapNames(call.method, kept, prefix)))
    const askedAt = reads.age
    const request = { call, target, native: owner.native, entry: owner.entry }
    this.#dispatch = new Dispatch(this.room, supervisor, request, outcome => {
      reads.keep(call, owner.native, outcome, askedAt)
      done(mapNames(call.method, outcome, prefix))
    }).start()
  }

  /** One server under its own names has no prefix to put anywhere. */
  #prefixOf(supervisor: Supervisor): string {
    return this.call.context.scope.kind === 'server' ? '' : supervisor.spec.prefix
  }

  /** Reads only: the first candidate that knows the resource answers; "not found" of one is not the last word. */
  #askInOrder(
    candidates: readonly { upstream: string; native: string }[],
    index: number,
    down: Outcome | null = null,
  ): void {
    const candidate = candidates[index]
    if (!candidate) return this.#refuse(notFound(this.target, []))
    this.#send({ ...candidate, entry: null }, outcome => {
      const last = index === candidates.length - 1
      const elsewhere = mayBeElsewhere(outcome)
      const firstDown = down ?? (outcome.kind === 'answered' ? null : outcome)
      if (!last && elsewhere) this.#askInOrder(candidates, index + 1, firstDown)
      // "Not found" of those who answered says nothing about the one that could not be asked.
      else this.#finish(elsewhere ? (firstDown ?? outcome) : outcome)
    })
  }
}

/** One that is well otherwise, and whose list is missing. */
function explained(view: UpstreamView): UpstreamView {
  const lists = Object.values(view.catalog)
  const failed = lists.find(
    (list): list is Extract<KindCatalog, { state: 'failed' }> => list.state === 'failed',
  )
  return view.reason !== null || !failed
    ? view
    : { ...view, reason: `its list could not be had: ${failed.reason}` }
}

function mapNames(method: string, outcome: Outcome, prefix: string): Outcome {
  if (outcome.kind !== 'answered' || !('result' in outcome.reply)) return outcome
  const result = renderResult(method, outcome.reply.result, prefix)
  return result === outcome.reply.result ? outcome : { ...outcome, reply: { result } }
}

function mayBeElsewhere(outcome: Outcome): boolean {
  if (outcome.kind === 'answered') return 'error' in outcome.reply
  return outcome.kind === 'never-sent' || outcome.kind === 'rejected'
}

/** What a person has not approved is not called, whoever asks. */
function held({ name, prefix }: UpstreamSpec, { kind, key }: Component, because: HeldBecause): GatewayError {
  const what = `${kind === 'prompts' ? 'the prompt' : 'the tool'} ${key}`
  const why = because === 'changed' ? 'is not described as it was' : 'came after the others were approved'
  const reason = `${what} ${why}, and is held until a person approves it`
  return new GatewayError('DENIED', `${name}: ${reason}: ${approvalCommand(name, prefix, key)}`, {
    upstream: name,
    reason,
  })
}

/** An outage is never reported as "not found": who could have had it is named, with the cause. */
function notFound(target: Target, down: readonly GatewayError[]): GatewayError {
  const what = describeTarget(target)
  const first = down[0]
  if (!first) return new GatewayError('NOT_FOUND', `Unknown ${what}`)
  const causes = down.map(error => error.message).join(' ')
  const message = `No server that could be asked offers the ${what}. It may belong to one that could not: ${causes}`
  return new GatewayError('UPSTREAM_UNAVAILABLE', message, {
    ...first.details,
    reason: down.length === 1 ? first.details.reason : causes,
    data: { unavailable: down.map(error => error.toFailure()) },
  })
}
