import type { ConfigReading, GatewaySettings } from '../config/index.js'
import type { GatewayStatus } from '../control/index.js'
import { type Entry, isEmptyPlan, sameValue } from '../core/reload/index.js'
import { messageOf } from '../model/index.js'
import type { Log } from '../observe/index.js'
import type { Runtime } from '../runtime/gateway.js'
import type { Clock } from '../runtime/ports.js'
import type { Applied, FailedVersion, LateNews } from '../runtime/reload.js'
import { newErrors, type ReloadResult, servers, unchanged, warningsIn } from './reload-result.js'

export type ConfigStatus = Omit<GatewayStatus['gateway']['config'], 'path' | 'hash'>

export interface ReloadWishes {
  /** Says what would change, and changes nothing. */
  readonly dryRun?: boolean
  /** The file may be half written: it is read again before it counts as faulty. */
  readonly mayBeHalf?: boolean
}

/** @param wishes a trial must leave no trace */
export type LoadConfig = (wishes: ReloadWishes) => Promise<ConfigReading>

/** A change of the gateway itself that is prepared: nothing can fail any more. */
export interface ReadyChange {
  /** What of it takes effect with a restart only. */
  readonly warnings: readonly string[]
  commit(): void
  abort(): void
}

export interface ReloaderParts {
  readonly runtime: Pick<Runtime, 'entries' | 'planReload' | 'reload' | 'draining'>
  readonly clock: Clock
  readonly log: Log
  /** What the gateway was started with. */
  readonly reading: ConfigReading
  /** @throws Error when the gateway itself cannot become as wanted */
  prepare(now: GatewaySettings, wanted: GatewaySettings): Promise<ReadyChange>
  settle(settings: GatewaySettings): void
  /** Of every reload that changed something or was refused. */
  told(result: ReloadResult): void
}

interface Waiting {
  load: LoadConfig
  mayBeHalf: boolean
  readonly done: Promise<ReloadResult>
}

const AGAIN_MS = 200
const TRIES = 3

/** Takes over configurations, one at a time; of those that come meanwhile, the latest. */
export class Reloader {
  #generation = 1
  #loadedAt: number
  #lastError: ConfigStatus['lastError'] = null
  #warnings: readonly string[]
  /** Servers whose new versions are still starting, and what is said of them. */
  #late = new Map<string, string>()
  /** As they were written last. */
  #settings: GatewaySettings
  #running: Promise<unknown> | null = null
  #next: Waiting | null = null

  constructor(private readonly parts: ReloaderParts) {
    const { clock, reading } = parts
    this.#loadedAt = clock.wallTime()
    this.#settings = reading.settings
    this.#warnings = brief(reading)
  }

  get status(): ConfigStatus {
    return {
      generation: this.#generation,
      loadedAt: new Date(this.#loadedAt).toISOString(),
      lastError: this.#lastError,
      warnings: [...this.#warnings, ...this.#late.values()],
    }
  }

  /** @returns the result of the reload that covered it */
  reload(load: LoadConfig, wishes: ReloadWishes = {}): Promise<ReloadResult> {
    if (wishes.dryRun) return this.#preview(load, wishes)
    if (!this.#running) return this.#begin(load, wishes)
    if (this.#next) {
      this.#next.load = load
      this.#next.mayBeHalf ||= wishes.mayBeHalf ?? false
      return this.#next.done
    }
    const before = this.#running
    const next: Waiting = {
      load,
      mayBeHalf: wishes.mayBeHalf ?? false,
      done: before.then(() => {
        this.#next = null
        return this.#begin(next.load, next)
      }),
    }
    this.#next = next
    return next.done
  }

  #begin(load: LoadConfig, wishes: ReloadWishes): Promise<ReloadResult> {
    const work = this.#take(load, wishes)
    const running = work.then(
      () => undefined,
      () => undefined,
    )
    this.#running = running
    void running.then(() => {
      if (this.#running === running && !this.#next) this.#running = null
    })
    return work
  }

  get #entries(): readonly Entry[] {
    return this.parts.runtime.entries
  }

  async #preview(load: LoadConfig, wishes: ReloadWishes): Promise<ReloadResult> {
    const reading = await load(wishes)
    const errors = newErrors(reading, this.#entries)
    const warnings = warningsIn(reading)
    if (errors.length > 0) return unchanged(this.#generation, this.#entries, errors, warnings)
    const plan = this.parts.runtime.planReload(reading.upstreams)
    const changed = servers(plan, this.#entries, reading.upstreams)
    const settings = this.#changedSettings(reading)
    return { ok: true, generation: this.#generation, ...changed, settings, errors, warnings }
  }

  async #take(load: LoadConfig, wishes: ReloadWishes): Promise<ReloadResult> {
    const reading = await this.#readWhole(load, wishes)
    if (this.parts.runtime.draining)
      return unchanged(this.#generation, this.#entries, ['the gateway is stopping'])
    const errors = newErrors(reading, this.#entries)
    const warnings = warningsIn(reading)
    if (errors.length > 0) return this.#refused(unchanged(this.#generation, this.#entries, errors, warnings))
    // A version that is late may not be wanted any more.
    const isSame =
      this.#late.size === 0 &&
      isEmptyPlan(this.parts.runtime.planReload(reading.upstreams)) &&
      this.#changedSettings(reading).length === 0
    if (isSame) return this.#unchanged(reading)
    let ready: ReadyChange
    try {
      ready = await this.parts.prepare(this.#settings, reading.settings)
    } catch (thrown) {
      return this.#refused(
        unchanged(this.#generation, this.#entries, [`holdfast.listen: ${messageOf(thrown)}`], warnings),
      )
    }
    return this.#apply(reading, ready)
  }

  #unchanged(reading: ConfigReading): ReloadResult {
    this.#lastError = null
    return unchanged(this.#generation, this.#entries, [], warningsIn(reading))
  }

  async #readWhole(load: LoadConfig, wishes: ReloadWishes): Promise<ConfigReading> {
    let reading = await load(wishes)
    for (let again = 0; wishes.mayBeHalf && again < TRIES; again += 1) {
      if (newErrors(reading, this.#entries).length === 0) break
      await new Promise<void>(resolve => this.parts.clock.after(AGAIN_MS, resolve))
      reading = await load(wishes)
    }
    return reading
  }

  async #apply(reading: ConfigReading, ready: ReadyChange): Promise<ReloadResult> {
    const settings = this.#changedSettings(reading)
    const warnings = [...warningsIn(reading), ...ready.warnings]
    let applied: Applied
    try {
      applied = await this.parts.runtime.reload(reading.upstreams)
    } catch (thrown) {
      ready.abort()
      return this.#refused(unchanged(this.#generation, this.#entries, [messageOf(thrown)], warnings))
    }
    ready.commit()
    this.#settings = reading.settings
    this.#warnings = [...brief(reading), ...ready.warnings]
    this.parts.settle(reading.settings)
    return this.#conclude(applied, settings, warnings)
  }

  /** What became of versions that the reload did not wait for. */
  later(news: LateNews): void {
    if (this.parts.runtime.draining) return
    if (news.kind === 'applied') {
      // A configuration that was refused meanwhile is still refused.
      const before = this.#lastError
      const { ok } = this.#conclude(news.applied, [], [])
      if (ok) this.#lastError = before
    } else {
      this.#late.delete(news.failed.upstream)
      this.#taken(unchanged(this.#generation, this.#entries, [notStarted(news.failed)]), false)
    }
  }

  #conclude(applied: Applied, settings: readonly string[], warnings: readonly string[]): ReloadResult {
    const { plan, before, wanted, failed, late } = applied
    this.#late = new Map(late.map(name => [name, stillStarting(name)]))
    const changed = servers(
      plan,
      before,
      wanted,
      new Set([...failed.map(({ upstream }) => upstream), ...late]),
    )
    const isNew = changed.changes.length > 0 || changed.reordered || settings.length > 0
    if (isNew) {
      this.#generation += 1
      this.#loadedAt = this.parts.clock.wallTime()
    }
    const result: ReloadResult = {
      ok: failed.length === 0,
      generation: this.#generation,
      ...changed,
      settings,
      errors: failed.map(notStarted),
      warnings: [...warnings, ...this.#late.values()],
    }
    return this.#taken(result, isNew)
  }

  #changedSettings({ settings }: ConfigReading): readonly string[] {
    const keys = Object.keys({ ...this.#settings, ...settings }) as (keyof GatewaySettings)[]
    const changed = keys.filter(key => !sameValue(this.#settings[key], settings[key]))
    return changed.map(key => key.replace(/Ms$/, ''))
  }

  #refused(result: ReloadResult): ReloadResult {
    const isNews = this.#fault(result.errors)
    const message = `The new configuration is not taken over: ${result.errors.join('; ')}`
    if (isNews) this.parts.log({ level: 'error', message })
    this.parts.told(result)
    return result
  }

  #taken(result: ReloadResult, isNew: boolean): ReloadResult {
    const { log, told } = this.parts
    const isNews = this.#fault(result.errors)
    if (isNew) log({ level: 'info', message: `Configuration ${result.generation}: ${sentence(result)}.` })
    if (isNews) for (const message of result.errors) log({ level: 'error', message })
    if (isNew || this.#late.size > 0) for (const message of result.warnings) log({ level: 'warn', message })
    if (isNew || result.errors.length > 0 || this.#late.size > 0) told(result)
    return result
  }

  /** @returns whether that was not known yet */
  #fault(errors: readonly string[]): boolean {
    const message = errors.join('; ')
    const isNews = this.#lastError?.message !== message
    const at = new Date(this.parts.clock.wallTime()).toISOString()
    this.#lastError = errors.length > 0 ? { message, at } : null
    return isNews
  }
}

/** Of each server that changed, so many options are named in a line of the log. */
const NAMED = 5

function sentence({ added, removed, changes, settings, reordered, unchanged }: ReloadResult): string {
  const updated = changes.flatMap(({ server, how, options }) => {
    if (how !== 'restarted' && how !== 'updated') return []
    const named = options.slice(0, NAMED).map(({ option }) => option)
    return [`${server} (${[...named, ...(options.length > NAMED ? ['...'] : [])].join(', ')})`]
  })
  const parts = Object.entries({ added, removed, updated }).flatMap(([word, names]) =>
    names.length > 0 ? [`${word} ${names.join(', ')}`] : [],
  )
  if (reordered) parts.push('in another order')
  if (settings.length > 0) parts.push(`changed ${settings.join(', ')} of the gateway`)
  return [...parts, `${unchanged.length} unchanged`].join('; ')
}

/** What the status says of its faults. */
function brief({ faults }: ConfigReading): readonly string[] {
  return faults.map(({ key, message }) => `${key}: ${message}`)
}

function notStarted({ upstream, reason }: FailedVersion): string {
  return `${upstream}: its new version does not start, so the old one serves on: ${reason}`
}

function stillStarting(upstream: string): string {
  return `${upstream}: its new version is still starting; the old one serves until it is ready`
}
