import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** A file as somebody read it. */
export interface SeenFile {
  readonly path: string
  /** Its `markOf` before it was read; null = as it is now. */
  readonly mark: string | null
}

export interface FileWatch {
  /** From now on these, and no others; one that is not as it was seen is a change. */
  follow(files: readonly SeenFile[]): void
  /** Looks at once, instead of at the next event. */
  look(): void
  close(): void
}

export interface FileWatchOptions {
  /** Milliseconds between two looks where no event comes: network folders, broken watchers. Default 2000. */
  readonly pollMs?: number
  /** Milliseconds without a further change after which a change is told: an editor may write in steps. Default 250. */
  readonly settleMs?: number
  /** Default `fs.watch`. */
  readonly watch?: (
    folder: string,
    options: { readonly persistent: false },
    heard: () => void,
  ) => Pick<FSWatcher, 'on' | 'close'>
}

/**
 * Tells when one of some files is not what it was: written, replaced by a rename, behind a link that was moved, gone,
 * there again, in a folder that came later. Events make it quick, looking from time to time makes it certain. What
 * changes at about the same time is told once.
 */
export function watchFiles(
  files: readonly SeenFile[],
  changed: () => void,
  options: FileWatchOptions = {},
): FileWatch {
  const watching = new Watch(changed, options)
  watching.follow(files)
  return watching
}

/** Times `settleMs` that a change waits for its end at most. */
const MOST_SETTLES = 4

interface Followed {
  /** As it was at the last look; null = not looked at yet. */
  known: string | null
  /** As it was told, or seen by who reads it. */
  told: string | null
}

class Watch implements FileWatch {
  #files = new Map<string, Followed>()
  readonly #watchers = new Map<string, Pick<FSWatcher, 'close'>>()
  #settling: NodeJS.Timeout | null = null
  /** Since when something is not as it was told; who writes without a pause is not waited for. */
  #unsettled: number | null = null
  readonly #settleMs: number
  readonly #watch: NonNullable<FileWatchOptions['watch']>
  readonly #poll: NodeJS.Timeout
  #looking = false
  #again = false
  #over = false

  constructor(
    private readonly changed: () => void,
    options: FileWatchOptions,
  ) {
    this.#settleMs = options.settleMs ?? 250
    this.#watch = options.watch ?? watch
    this.#poll = setInterval(() => {
      this.#listen()
      this.look()
    }, options.pollMs ?? 2_000).unref()
  }

  follow(files: readonly SeenFile[]): void {
    const before = this.#files
    this.#files = new Map(
      files.map(({ path, mark }) => {
        const known = before.get(path)?.known ?? null
        return [path, { known: mark ?? known, told: mark ?? known }]
      }),
    )
    this.#listen()
    this.look()
  }

  look(): void {
    this.#again = this.#looking
    if (this.#over || this.#looking) return
    this.#looking = true
    void this.#lookAtAll().then(() => {
      this.#looking = false
      if (this.#again) this.look()
    })
  }

  close(): void {
    this.#over = true
    clearInterval(this.#poll)
    if (this.#settling) clearTimeout(this.#settling)
    for (const folder of this.#watchers.keys()) this.#deafen(folder)
  }

  async #lookAtAll(): Promise<void> {
    const files = this.#files
    const marks = await Promise.all([...files.keys()].map(async path => [path, await markOf(path)] as const))
    // Others are followed by now, and what they are like was not looked at.
    if (this.#over || files !== this.#files) return
    let isNews = false
    for (const [path, mark] of marks) {
      const file = files.get(path)
      if (!file) continue
      file.told ??= mark
      if (file.known !== null && file.known !== mark) {
        isNews = true
        // The folder itself may be another one, and its watcher deaf.
        this.#deafen(dirname(path))
      }
      file.known = mark
    }
    this.#listen()
    if (isNews || (this.#differs && !this.#settling)) this.#settle()
  }

  get #differs(): boolean {
    return [...this.#files.values()].some(({ known, told }) => known !== told)
  }

  #settle(): void {
    if (this.#settling) clearTimeout(this.#settling)
    this.#settling = null
    if (!this.#differs) {
      this.#unsettled = null
      return
    }
    this.#unsettled ??= performance.now()
    const patience = this.#unsettled + MOST_SETTLES * this.#settleMs - performance.now()
    this.#settling = setTimeout(() => this.#tell(), Math.max(0, Math.min(this.#settleMs, patience))).unref()
  }

  #tell(): void {
    this.#settling = null
    this.#unsettled = null
    // It may have been read for another reason meanwhile.
    if (!this.#differs) return
    for (const file of this.#files.values()) file.told = file.known
    this.changed()
  }

  /** To the folders, because a file that is replaced takes its watcher with it. */
  #listen(): void {
    if (this.#over) return
    const folders = new Set([...this.#files.keys()].map(dirname))
    for (const folder of this.#watchers.keys()) if (!folders.has(folder)) this.#deafen(folder)
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue
      try {
        const watcher = this.#watch(folder, { persistent: false }, () => this.look())
        this.#watchers.set(folder, watcher)
        watcher.on('error', () => this.#deafen(folder))
      } catch {
        // There is no such folder yet, or it cannot be watched: it is looked at from time to time.
      }
    }
  }

  #deafen(folder: string): void {
    this.#watchers.get(folder)?.close()
    this.#watchers.delete(folder)
  }
}

/** What tells two states of a file apart without reading it. */
export async function markOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch (thrown) {
    return String((thrown as NodeJS.ErrnoException).code)
  }
}
