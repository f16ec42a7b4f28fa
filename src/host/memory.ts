import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { LIMITS } from '../model/index.js'
import type { Memory } from '../runtime/ports.js'
import { FileArchive } from './archive.js'
import { CATALOG_LAYOUT } from './catalog-layout.js'
import { PIN_LAYOUT } from './pin-layout.js'

export interface MemoryOptions {
  /** The state folder; null = nothing outlives the gateway. */
  readonly folder: string | null
  readonly warn: (message: string) => void
  readonly delayMs?: number
}

export interface HostMemory extends Memory {
  /** Removes what nobody has used for long. Never rejects. */
  sweep(): Promise<void>
  /** Writes what is still to be written. */
  settle(): Promise<void>
}

/** Remembers lists and pins in files of the state folder. */
export function createMemory({ folder, warn, delayMs = LIMITS.archiveDelayMs }: MemoryOptions): HostMemory {
  const digest = (text: string) => createHash('sha256').update(text).digest('hex')
  if (folder === null) {
    const nowhere = { load: () => null, save: () => undefined }
    const nothing = () => Promise.resolve()
    return { catalogs: nowhere, pins: nowhere, digest, sweep: nothing, settle: nothing }
  }
  const place = { folder: join(folder, 'catalogs'), warn, delayMs }
  const catalogs = new FileArchive(place, CATALOG_LAYOUT)
  const pins = new FileArchive(place, PIN_LAYOUT)
  return {
    catalogs,
    pins,
    digest,
    sweep: async () => {
      await Promise.all([catalogs.sweep(), pins.sweep()])
    },
    settle: async () => {
      await Promise.all([catalogs.settle(), pins.settle()])
    },
  }
}
