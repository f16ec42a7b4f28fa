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
  /** @param fresh the state is another one, not the same with another cause */
  changed(fresh: boolean): void
}

/** Runs one server's lifecycle machine: feeds it the time, keeps its one timer, hands on its effects. */
export class Lifecycle {
  #machine: Supervised
  #timer: Timer | null = null
  /** Wall-clock ms of the next try, when one is planned. */
  nextAttemptAt: number | null = null

  constructor(
    private readonly host: Pick<Host, 'clock' | 'random'>,
    private readonly policy: BackoffPolicy,
    private readonly effects: LifecycleEffects,
    enabled: boolean,
  ) {
    this.#machine = enabled ? INITIAL : { ...INITIAL, state: { kind: 'disabled' } }
  }

  get machine(): Supervised {
    return this.#machine
  }

  /** @returns true when the event began a try */
  feed(event: SuperviseEvent): boolean {
    const before = this.#machine
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
    if (next.state !== before.state) this.effects.changed(next.state.kind !== before.state.kind)
    return next.epoch !== before.epoch
  }

  #arm(epoch: number, delayMs: number): void {
    const { clock } = this.host
    this.#disarm()
    this.nextAttemptAt = clock.wallTime() + delayMs
    this.#timer = clock.after(delayMs, () => this.feed({ kind: 'timer-fired', epoch }))
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.nextAttemptAt = null
  }
}
