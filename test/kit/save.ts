import { lstatSync, mkdirSync, readlinkSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** Puts a text into a file that somebody watches. Resolves when the file is whole. */
export type Save = (path: string, text: string) => Promise<void>

let serial = 0
const besides = (path: string) => join(dirname(path), `.${basename(path)}.${++serial}`)

/** The steps that one save takes are seen by whoever watches. */
const STEP_MS = 100

/** The ways in which editors and tools write. */
export const SAVES = {
  'in place': async (path, text) => writeFileSync(path, text),
  'emptied first': async (path, text) => {
    writeFileSync(path, '')
    await delay(STEP_MS)
    writeFileSync(path, text)
  },
  'in halves': async (path, text) => {
    writeFileSync(path, text.slice(0, text.length / 2))
    await delay(STEP_MS)
    writeFileSync(path, text)
  },
  'by a rename': async (path, text) => {
    const fresh = besides(path)
    writeFileSync(fresh, text)
    renameSync(fresh, path)
  },
  'behind a link': async (path, text) => {
    const [target, link] = [besides(path), besides(path)]
    writeFileSync(target, text)
    symlinkSync(basename(target), link)
    renameSync(link, path)
  },
  'behind the link of its folder': async (path, text) => {
    const folder = besides(path)
    mkdirSync(folder)
    writeFileSync(join(folder, basename(path)), text)
    swapLink(join(dirname(path), '..data'), basename(folder))
    const target = join('..data', basename(path))
    // From the second time on only the folder's link moves.
    if (!lstatSync(path).isSymbolicLink() || readlinkSync(path) !== target) swapLink(path, target)
  },
} as const satisfies Readonly<Record<string, Save>>

/** As tools do: the name is never without a target. */
function swapLink(path: string, target: string): void {
  const link = besides(path)
  symlinkSync(target, link)
  renameSync(link, path)
}
