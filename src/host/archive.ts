import { lstatSync, renameSync, utimes } from 'node:fs'
import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bytes, LIMITS, messageOf } from '../model/index.js'
import type { Archive } from '../runtime/ports.js'
import { readSealed, type Seal, Unsealed, writeSealed } from './sealed-file.js'
import { makePrivateFolder, refuseForeign } from './state-folder.js'

/** How one kind of content lies in a file. */
export interface Layout<Content> {
  readonly kind: string
  readonly version: number
  /** What it is, in words: "The kept lists of SERVER". */
  what(owner: string): string
  /** What its loss means, in words. */
  readonly loss: string
  /** Milliseconds after its last use at which a file is litter. */
  readonly litterMs: number
  encode(content: Content): { readonly meta: unknown; readonly parts: readonly Bytes[] }
  /** Null for what has not that shape. */
  decode(meta: unknown, bytes: Bytes): Content | null
}

export interface ArchivePlace {
  readonly folder: string
  readonly warn: (message: string) => void
  readonly delayMs?: number
}

/** What was set aside is kept for whoever looks into the cause. */
const ASIDE_LITTER_MS = 7 * 24 * 60 * 60_000
const PART_LITTER_MS = 60 * 60_000

/** One file for each identity: gateways side by side write whole files, and the last one that knows counts. */
export class FileArchive<Content> implements Archive<Content> {
  readonly #pending = new Map<string, Content>()
  /** On their way to the disk. */
  readonly #leaving = new Map<string, Content>()
  readonly #seal: Seal
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> | null = null
  #warned = false
  #foreign: string | null | undefined

  constructor(
    private readonly place: ArchivePlace,
    private readonly layout: Layout<Content>,
  ) {
    this.#seal = { kind: layout.kind, version: layout.version, maxBytes: LIMITS.archiveBytes }
  }

  load(id: string, upstream: string): Content | 'lost' | null {
    const path = this.#pathOf(id)
    try {
      const foreign = this.#foreignFolder()
      if (foreign !== null) {
        this.#warnOnce(foreign)
        return 'lost'
      }
      const unwritten = this.#pending.get(id) ?? this.#leaving.get(id)
      if (unwritten !== undefined) return this.#copy(unwritten)
      const sealed = readSealed(path, this.#seal)
      if (sealed === null) return null
      const content = this.#open(id, sealed.meta, sealed.bytes)
      const now = new Date()
      // How long it has not been used is all that tells litter from what is needed.
      utimes(path, now, now, () => undefined)
      return content
    } catch (thrown) {
      this.#setAside(path, upstream, thrown)
      return 'lost'
    }
  }

  save(id: string, content: Content): void {
    this.#pending.set(id, content)
    this.#timer ??= setTimeout(() => void this.settle(), this.place.delayMs ?? LIMITS.archiveDelayMs).unref()
  }

  /** Writes what is to be written now; resolves when it is. */
  async settle(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    while (this.#writing) await this.#writing
    if (this.#pending.size === 0) return
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = null
    })
    await this.#writing
  }

  /** Removes what nobody has used for long. Never rejects. */
  async sweep(): Promise<void> {
    const { folder } = this.place
    try {
      await refuseForeign(folder)
      await Promise.all((await readdir(folder)).map(name => this.#sweepFile(name)))
    } catch {
      // No folder, or not ours: nothing of ours to remove.
    }
  }

  async #sweepFile(name: string): Promise<void> {
    const [, kind, end] = /^[0-9a-f]{64}\.([a-z]+)(?:\.(?:[0-9a-f]+\.)?([a-z]+))?$/.exec(name) ?? []
    if (kind !== this.layout.kind) return
    const limit = end === 'part' ? PART_LITTER_MS : end ? ASIDE_LITTER_MS : this.layout.litterMs
    const path = join(this.place.folder, name)
    // The age of a file is what the wall clock says; nothing running depends on it.
    const { mtimeMs } = await lstat(path)
    if (Date.now() - mtimeMs > limit) await rm(path, { force: true })
  }

  /** As it will be read: who has it may change it. */
  #copy(content: Content): Content | null {
    const { meta, parts } = this.layout.encode(content)
    return this.layout.decode(JSON.parse(JSON.stringify(meta)), Buffer.concat(parts))
  }

  #pathOf(id: string): string {
    return join(this.place.folder, `${id}.${this.layout.kind}`)
  }

  #open(id: string, meta: unknown, bytes: Bytes): Content {
    const { id: own, content } = (meta ?? {}) as { id?: unknown; content?: unknown }
    if (own !== id) throw new Unsealed('it is about another server')
    const decoded = this.layout.decode(content, bytes)
    if (decoded === null) throw new Unsealed('it has not the shape that it should have')
    return decoded
  }

  /** Through a link, the files of others would be taken for ours. */
  #foreignFolder(): string | null {
    if (this.#foreign !== undefined) return this.#foreign
    const { folder } = this.place
    try {
      const found = lstatSync(folder)
      const uid = process.getuid?.() ?? found.uid
      this.#foreign =
        found.isDirectory() && found.uid === uid ? null : `${folder} is not a folder of its owner alone`
    } catch {
      this.#foreign = null
    }
    return this.#foreign
  }

  /** The next gateway need not stumble over it again; whoever wonders can look at it. */
  #setAside(path: string, upstream: string, thrown: unknown): void {
    const aside = `${path}.${thrown instanceof Unsealed && thrown.otherVersion ? 'old' : 'corrupt'}`
    let where = `it was moved to ${aside}`
    try {
      renameSync(path, aside)
    } catch (fault) {
      where = `it could not be moved aside: ${messageOf(fault)}`
    }
    this.place.warn(
      `${this.layout.what(upstream)} (${path}) cannot be used: ${messageOf(thrown)}; ${where}. ${this.layout.loss}`,
    )
  }

  async #writeAll(): Promise<void> {
    for (const [id, content] of this.#pending) {
      this.#pending.delete(id)
      this.#leaving.set(id, content)
      try {
        await makePrivateFolder(this.place.folder)
        const { meta, parts } = this.layout.encode(content)
        await writeSealed(this.#pathOf(id), this.#seal, { id, content: meta }, parts)
      } catch (thrown) {
        this.#warnOnce(messageOf(thrown))
      } finally {
        this.#leaving.delete(id)
      }
    }
  }

  #warnOnce(cause: string): void {
    if (this.#warned) return
    this.#warned = true
    this.place.warn(
      `${this.layout.what('the servers')} cannot be kept on disk (${cause}). ${this.layout.loss}`,
    )
  }
}
