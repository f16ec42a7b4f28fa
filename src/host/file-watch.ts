import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface FileWatch {
  /** Looks at once, instead of at the next event. */
  look(): void
  close(): void
}

export interface FileWatchOptions {
  /** Milliseconds between two looks where no event comes: network folders, broken watchers. Default 2000. */
  readonly pollMs?: number
  /** Milliseconds without a further change after which a change is told: an editor may write in steps. Default 250. */
  readonly settleMs?: number
}

/**
 * Tells when a file is not what it was: written, replaced by a rename, behind a link that was moved, gone, there again,
 * in a folder that came later. Events make it quick, looking from time to time makes it certain.
 */
export function watchFile(path: string, changed: () => void, options: FileWatchOptions = {}): FileWatch {
  return new Watch(path, changed, options.pollMs ?? 2_000, options.settleMs ?? 250)
}

class Watch implements FileWatch {
  /** What it was at the last look, and when it was last told. */
  #known: string | null = null
  #told: string | null = null
  #watcher: FSWatcher | null = null
  #settling: NodeJS.Timeout | null = null
  readonly #poll: NodeJS.Timeout
  #looking = false
  #again = false
  #over = false

  constructor(
    private readonly path: string,
    private readonly changed: () => void,
    pollMs: number,
    private readonly settleMs: number,
  ) {
    this.#poll = setInterval(() => {
      this.#listen()
      this.look()
    }, pollMs).unref()
    this.#listen()
    this.look()
  }

  look(): void {
    this.#again = this.#looking
    if (this.#over || this.#looking) return
    this.#looking = true
    void fingerprint(this.path).then(now => {
      this.#looking = false
      if (this.#over) return
      if (this.#known === null) this.#told = now
      if (now !== this.#known) this.#settle(now)
      if (this.#again) this.look()
    })
  }

  close(): void {
    this.#over = true
    clearInterval(this.#poll)
    if (this.#settling) clearTimeout(this.#settling)
    this.#deafen()
  }

  #settle(now: string): void {
    this.#known = now
    if (this.#settling) clearTimeout(this.#settling)
    this.#settling = null
    if (now === this.#told) return
    this.#settling = setTimeout(() => {
      this.#settling = null
      this.#told = now
      this.changed()
    }, this.settleMs).unref()
  }

  /** To the folder, because a file that is replaced takes its watcher with it. */
  #listen(): void {
    if (this.#watcher || this.#over) return
    try {
      this.#watcher = watch(dirname(this.path), { persistent: false }, () => this.look())
      this.#watcher.on('error', () => this.#deafen())
    } catch {
      this.#watcher = null
    }
  }

  #deafen(): void {
    this.#watcher?.close()
    this.#watcher = null
  }
}

/** What tells two states of a file apart without reading it. */
async function fingerprint(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch (thrown) {
    return String((thrown as NodeJS.ErrnoException).code)
  }
}
