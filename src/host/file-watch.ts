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
  const { pollMs = 2_000, settleMs = 250 } = options
  let known: string | null = null
  let told: string | null = null
  let watcher: FSWatcher | null = null
  let settling: NodeJS.Timeout | null = null
  let looking = false
  let again = false
  let over = false

  const look = (): void => {
    if (over) return
    if (looking) {
      again = true
      return
    }
    looking = true
    void fingerprint(path).then(now => {
      looking = false
      if (over) return
      if (known === null) told = now
      if (now !== known) settle(now)
      if (!again) return
      again = false
      look()
    })
  }
  const settle = (now: string): void => {
    known = now
    if (settling) clearTimeout(settling)
    settling = null
    if (now === told) return
    settling = setTimeout(() => {
      settling = null
      told = now
      changed()
    }, settleMs).unref()
  }
  /** The folder, because a file that is replaced takes its watcher with it. */
  const listen = (): void => {
    if (watcher || over) return
    try {
      watcher = watch(dirname(path), { persistent: false }, look)
      watcher.on('error', deafen)
    } catch {
      watcher = null
    }
  }
  const deafen = (): void => {
    watcher?.close()
    watcher = null
  }

  look()
  listen()
  const poll = setInterval(() => {
    listen()
    look()
  }, pollMs).unref()
  return {
    look,
    close: () => {
      over = true
      clearInterval(poll)
      if (settling) clearTimeout(settling)
      deafen()
    },
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
