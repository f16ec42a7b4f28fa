import {
  type BackoffPolicy,
  INITIAL,
  type Supervised,
  type SuperviseEvent,
  step,
} from '../core/supervise/index.js'
import type { Host, Timer } from './ports.js'

/** What the driver cannot do by itself. */
export interface LifecycleEffects {
  open(epoch: number): void
  close(): void
  welcome(): void
  /** @param fresh a new phase began, not one more try in the same outage */
  changed(fresh: boolean): void
  /** What runs may finish, and nothing begins again. */
  isLeaving(): boolean
}

/** Tries and waits of one outage are one phase: since when it is down is what people want to know. */
function phaseOf({ state, failures }: Supervised): string {
  const down = state.kind === 'backoff' || (state.kind === 'starting' && failures > 0)
  return down ? 'down' : state.kind
}

/** What one that has no place any more makes of an event: its end is the end, and nothing begins. */
function atTheEnd(event: SuperviseEvent, { epoch }: Supervised): SuperviseEvent | null {
  switch (event.kind) {
    case 'closed':
    case 'open-failed':
      return event.epoch === epoch ? { kind: 'stopped' } : null
    case 'opened':
    case 'disabled':
    case 'idled':
    case 'stopped':
    case 'gone':
      return event
    default:
      return null
  }
}

/** Runs one server's lifecycle machine: feeds it the time, keeps its one timer, hands on its effects. */
export class Lifecycle {
  #machine: Supervised
  #timer: Timer | null = null
  /** Monotonic ms of the next try, when one is planned. */
  nextAttemptDue: number | null = null

  constructor(
    private readonly host: Pick<Host, 'clock' | 'random'>,
    /** Read at each event. */
    public policy: BackoffPolicy,
    private readonly effects: LifecycleEffects,
    enabled: boolean,
  ) {
    this.#machine = enabled ? INITIAL : { ...INITIAL, state: { kind: 'disabled' } }
  }

  get machine(): Supervised {
    return this.#machine
  }

  /** @returns true when the event began a try */
  feed(fact: SuperviseEvent): boolean {
    const before = this.#machine
    const event = this.effects.isLeaving() ? atTheEnd(fact, before) : fact
    if (!event) return false
    const { clock, random } = this.host
    const { next, effects } = step(before, event, clock.now(), random.next(), this.policy)
    this.#machine = next
    for (const effect of effects) {
      switch (effect.kind) {
        case 'open':
          this.effects.open(effect.epoch)
          break
        case 'close':
          this.effects.close()
          break
        case 'fetch-lists':
          this.effects.welcome()
          break
        case 'arm-timer':
          this.#arm(effect.epoch, effect.delayMs)
          break
        case 'disarm-timer':
          this.#disarm()
      }
    }
    if (next.state !== before.state) this.effects.changed(phaseOf(next) !== phaseOf(before))
    return next.epoch !== before.epoch
  }

  #arm(epoch: number, delayMs: number): void {
    const { clock } = this.host
    this.#disarm()
    this.nextAttemptDue = clock.now() + delayMs
    this.#timer = clock.after(delayMs, () => this.feed({ kind: 'timer-fired', epoch }))
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.nextAttemptDue = null
  }
}
