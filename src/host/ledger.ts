import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../model/index.js'
import { makePrivateFolder } from './state-folder.js'

/** A process group that was started: its leader's pid and start name it beyond any reuse of the number. */
export interface LedgerEntry {
  readonly pid: number
  readonly start: string
  /** The program alone: arguments may hold secrets. */
  readonly command: string
}

/** What stands in the file of one gateway. */
export interface LedgerFile {
  readonly version: 1
  readonly instance: string
  /** Where its pids mean anything. */
  readonly space: string
  readonly gateway: { readonly pid: number; readonly start: string }
  readonly children: readonly LedgerEntry[]
}

export interface LedgerOptions {
  readonly folder: string
  /** The mark in the environment of every child. */
  readonly instance: string
  readonly space: string
  readonly gateway: { readonly pid: number; readonly start: string }
  readonly warn: (message: string) => void
}

/**
 * The list of this gateway's process groups on disk, so that the next gateway can end what a crash of this one left.
 * Writing happens beside the gateway's work, and a disk that cannot be written costs a warning.
 */
export class Ledger {
  readonly #file: string
  readonly #children = new Map<number, LedgerEntry>()
  #saving: Promise<void> | null = null
  #dirty = false
  #written = false
  #warned = false

  constructor(private readonly options: LedgerOptions) {
    this.#file = join(options.folder, `${options.gateway.pid}-${options.instance}.json`)
  }

  add(entry: LedgerEntry): void {
    this.#children.set(entry.pid, entry)
    this.#save()
  }

  remove(pid: number): void {
    if (this.#children.delete(pid)) this.#save()
  }

  /** Resolves when the disk says what is so: no file when no group is left. */
  async settled(): Promise<void> {
    while (this.#saving) await this.#saving
  }

  /** One write at a time; what changes meanwhile goes into the next. */
  #save(): void {
    this.#dirty = true
    this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = null
      if (this.#dirty) this.#save()
    })
  }

  async #saveAll(): Promise<void> {
    // A later turn: all that changed in this one is one write.
    await new Promise(resolve => setImmediate(resolve))
    while (this.#dirty) {
      this.#dirty = false
      try {
        await this.#write()
      } catch (thrown) {
        this.#warn(thrown)
      }
    }
  }

  async #write(): Promise<void> {
    if (this.#children.size === 0) {
      if (this.#written) await rm(this.#file, { force: true })
      this.#written = false
      return
    }
    await makePrivateFolder(this.options.folder)
    const { instance, space, gateway } = this.options
    const content: LedgerFile = {
      version: 1,
      instance,
      space,
      gateway,
      children: [...this.#children.values()],
    }
    const part = `${this.#file}.part`
    try {
      await writeFile(part, `${JSON.stringify(content)}\n`, { mode: 0o600 })
      await rename(part, this.#file)
    } catch (thrown) {
      await rm(part, { force: true }).catch(() => undefined)
      throw thrown
    }
    this.#written = true
  }

  #warn(thrown: unknown): void {
    if (this.#warned) return
    this.#warned = true
    const cause = messageOf(thrown)
    this.options.warn(
      `The list of child processes cannot be kept (${cause}). Should the gateway crash, servers that ignore the end of their input stay behind.`,
    )
  }
}
