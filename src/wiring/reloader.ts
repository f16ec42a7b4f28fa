import type { ConfigReading, Fault, GatewaySettings } from '../config/index.js'
import { type Entry, isEmptyPlan, type ReloadPlan, sameValue } from '../core/reload/index.js'
import type { Log } from '../observe/index.js'
import type { Runtime } from '../runtime/gateway.js'
import type { Clock } from '../runtime/ports.js'

/** What a reload did, or would do. */
export interface ReloadResult {
  /** False when nothing, or not all, of it was taken over: `errors` say why. */
  readonly ok: boolean
  /** Counts the configurations that were taken over; the one of the start is 1. */
  readonly generation: number
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** Changed in place, or by a new version in place of the old one. */
  readonly updated: readonly string[]
  readonly unchanged: readonly string[]
  readonly errors: readonly string[]
  readonly warnings: readonly string[]
}

export interface ConfigStatus {
  readonly generation: number
  /** ISO time of the one that runs. */
  readonly loadedAt: string
  /** Why a later one was not taken over. */
  readonly lastError: { readonly message: string; readonly at: string } | null
  readonly warnings: readonly string[]
}

export interface ReloadWishes {
  /** Says what would change, and changes nothing. */
  readonly dryRun?: boolean
  /** The file may be half written: it is read again before it counts as faulty. */
  readonly mayBeHalf?: boolean
}

export type LoadConfig = () => Promise<ConfigReading>

interface Waiting extends ReloadWishes {
  load: LoadConfig
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
  #settings: GatewaySettings
  #running: Promise<unknown> | null = null
  #next: Waiting | null = null

  constructor(
    private readonly runtime: Pick<Runtime, 'entries' | 'planReload' | 'reload' | 'draining'>,
    private readonly clock: Clock,
    private readonly log: Log,
    reading: ConfigReading,
    private readonly settle: (settings: GatewaySettings) => void,
  ) {
    this.#loadedAt = clock.wallTime()
    this.#settings = reading.settings
    this.#warnings = reading.faults.map(brief)
  }

  get status(): ConfigStatus {
    return {
      generation: this.#generation,
      loadedAt: new Date(this.#loadedAt).toISOString(),
      lastError: this.#lastError,
      warnings: this.#warnings,
    }
  }

  /** @returns the result of the reload that covered it */
  reload(load: LoadConfig, wishes: ReloadWishes = {}): Promise<ReloadResult> {
    if (wishes.dryRun) return this.#read(load, wishes).then(reading => this.#preview(reading))
    if (!this.#running) return this.#begin(load, wishes)
    if (this.#next) {
      this.#next.load = load
      return this.#next.done
    }
    const before = this.#running
    const next: Waiting = {
      ...wishes,
      load,
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

  async #read(load: LoadConfig, { mayBeHalf = false }: ReloadWishes): Promise<ConfigReading> {
    let reading = await load()
    for (let again = 0; mayBeHalf && !reading.ok && again < TRIES; again += 1) {
      await new Promise<void>(resolve => this.clock.after(AGAIN_MS, resolve))
      reading = await load()
    }
    return reading
  }

  async #take(load: LoadConfig, wishes: ReloadWishes): Promise<ReloadResult> {
    const reading = await this.#read(load, wishes)
    const preview = this.#preview(reading)
    if (this.runtime.draining) return { ...preview, ok: false, errors: ['the gateway is stopping'] }
    if (!preview.ok) return this.#refused(preview)
    const plan = this.runtime.planReload(reading.upstreams)
    const isSame = isEmptyPlan(plan) && sameValue(this.#settings, reading.settings)
    this.#warnings = [...reading.faults.map(brief), ...needsRestart(this.#settings, reading.settings)]
    if (isSame) {
      this.#lastError = null
      return { ...preview, generation: this.#generation }
    }
    const { failed } = await this.runtime.reload(reading.upstreams)
    this.#settings = { ...reading.settings, listen: this.#settings.listen, auth: this.#settings.auth }
    this.settle(this.#settings)
    this.#generation += 1
    this.#loadedAt = this.clock.wallTime()
    const errors = failed.map(
      ({ upstream, reason }) =>
        `${upstream}: its new version does not start, so the old one serves on: ${reason}`,
    )
    return this.#taken({ ...preview, ok: errors.length === 0, generation: this.#generation, errors })
  }

  #preview(reading: ConfigReading): ReloadResult {
    const errors = this.#newFaults(reading).map(said)
    const plan = reading.ok ? this.runtime.planReload(reading.upstreams) : NOTHING
    const warnings = reading.faults.filter(({ severity }) => severity === 'warning').map(said)
    return {
      ok: errors.length === 0,
      generation: this.#generation,
      added: errors.length > 0 ? [] : plan.added,
      removed: errors.length > 0 ? [] : plan.removed,
      updated: errors.length > 0 ? [] : [...plan.restarted, ...plan.updated.map(({ name }) => name)],
      unchanged: errors.length > 0 ? this.runtime.entries.map(({ name }) => name) : plan.kept,
      errors,
      warnings: [...warnings, ...(reading.ok ? needsRestart(this.#settings, reading.settings) : [])],
    }
  }

  /** A server that is misconfigured exactly as it is now keeps nothing else from being taken over. */
  #newFaults({ faults, upstreams }: ConfigReading): readonly Fault[] {
    const running = new Map(this.runtime.entries.map(entry => [entry.name, entry]))
    const isKnown = ({ server }: Fault) => {
      const wanted = upstreams.find(({ name }) => name === server)
      const now = server === undefined ? undefined : running.get(server)
      return isFaulty(now) && sameValue(now, wanted)
    }
    return faults.filter(fault => fault.severity === 'error' && !isKnown(fault))
  }

  #refused(result: ReloadResult): ReloadResult {
    const message = result.errors.join('; ')
    const isNews = this.#lastError?.message !== message
    this.#lastError = { message, at: new Date(this.clock.wallTime()).toISOString() }
    if (isNews) this.log({ level: 'error', message: `The new configuration is not taken over: ${message}` })
    return result
  }

  #taken(result: ReloadResult): ReloadResult {
    const { added, removed, updated, unchanged, errors, warnings, generation } = result
    const at = new Date(this.clock.wallTime()).toISOString()
    this.#lastError = errors.length > 0 ? { message: errors.join('; '), at } : null
    const parts = Object.entries({ added, removed, updated }).flatMap(([word, names]) =>
      names.length > 0 ? [`${word} ${names.join(', ')}`] : [],
    )
    const what = [...parts, `${unchanged.length} unchanged`].join('; ')
    this.log({ level: 'info', message: `Configuration ${generation} is taken over: ${what}.` })
    for (const error of errors) this.log({ level: 'error', message: error })
    for (const warning of warnings) this.log({ level: 'warn', message: warning })
    return result
  }
}

const NOTHING: ReloadPlan = { added: [], removed: [], restarted: [], updated: [], kept: [], reordered: false }

function isFaulty(entry: Entry | undefined): boolean {
  return entry !== undefined && 'problem' in entry
}

function said({ key, line, message, fix }: Fault): string {
  const where = [key, ...(line === undefined ? [] : [`line ${line}`])].filter(part => part !== '').join(', ')
  return `${where === '' ? '' : `${where}: `}${message} (${fix})`
}

function brief({ key, message }: Fault): string {
  return `${key}: ${message}`
}

function needsRestart(now: GatewaySettings, wanted: GatewaySettings): readonly string[] {
  return (['listen', 'auth'] as const).flatMap(key =>
    sameValue(now[key], wanted[key])
      ? []
      : [`holdfast.${key}: it changes with a restart of the gateway only`],
  )
}
