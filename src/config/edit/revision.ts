import { dirname } from 'node:path'
import type { Fault } from '../faults.js'
import { type Environment, UNSET } from '../interpolate.js'
import { withReferred } from '../load.js'
import { parseText } from '../parse.js'
import { type ConfigReading, readConfig } from '../read.js'
import type { Change } from './change.js'
import type { ConfigText } from './config-text.js'
import { diffLines } from './diff.js'
import { editText } from './edit.js'
import { type Masked, maskText } from './secrets.js'

/** A changed text, ready to be written. */
export interface Revision {
  readonly text: string
  /** Lines that differ, secrets masked. */
  readonly diff: readonly string[]
  /** The changed text, read whole. */
  readonly reading: ConfigReading
  /** What is wrong with it and was not before; it must not be written. */
  readonly refused: readonly Fault[]
  /** Variables that are not set here; they may be set where the gateway runs. */
  readonly unset: readonly Fault[]
}

/** Makes the changes and reads the result whole; null where they cannot be made without a loss. */
export async function checkChanges(
  file: ConfigText,
  changes: readonly Change[],
  env: Environment,
): Promise<Revision | null> {
  const text = editText(file.text, file.dialect, changes)
  if (text === null) return null
  const context = { dialect: file.dialect, env, baseDir: dirname(file.path) }
  const read = (written: string) => withReferred(files => readConfig(written, { ...context, files }))
  const old = new Set(file.text.trim() === '' ? [] : (await read(file.text)).faults.map(identify))
  const reading = await read(text)
  const added = reading.faults.filter(fault => fault.severity === 'error' && !old.has(identify(fault)))
  return {
    text,
    diff: showDiff(masked(file.text, file), masked(text, file)),
    reading,
    refused: added.filter(fault => !UNSET.test(fault.message)),
    unset: added.filter(fault => UNSET.test(fault.message)),
  }
}

/** Lines and columns move with an edit; the fault stays the same one. */
function identify({ server, key, message }: Fault): string {
  return JSON.stringify([server, key, message])
}

function masked(text: string, { dialect }: ConfigText): Masked {
  return maskText(text, dialect, parseText(text, dialect).value)
}

function showDiff(before: Masked, after: Masked): readonly string[] {
  return diffLines(before.text, after.text).map(line => before.clean(after.clean(line)))
}
