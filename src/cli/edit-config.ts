import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import {
  type ConfigText,
  checkChanges,
  NotSaved,
  nearestKey,
  openText,
  type Revision,
  renderFaults,
  saveText,
} from '../config/index.js'
import { escapeControls } from '../observe/index.js'
import { explainFaults, findConfigFile, locateConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'
import { print, say, type TalkOptions } from './talk.js'
import { painter } from './terminal.js'

export interface EditOptions extends TalkOptions {
  readonly config?: string
  readonly dryRun?: boolean
}

/** The config file as a text to change; ends the command when its text cannot be understood. */
export async function openForEdit(options: EditOptions, mayCreate: boolean): Promise<ConfigText> {
  const path = mayCreate
    ? (findConfigFile(options.config) ?? resolve('holdfast.json'))
    : locateConfig(options.config)
  const opened = await openText(path, mayCreate && !existsSync(path))
  if ('path' in opened) return opened
  throw new CommandFailure(EXIT.config, explainFaults(opened, path))
}

/** Ends the command where no server has that name. */
export function requireServer(file: ConfigText, name: string): void {
  if (Object.hasOwn(file.servers, name)) return
  const names = Object.keys(file.servers)
  const near = nearestKey(name, names)
  const hint = near
    ? `Did you mean "${near}"?`
    : names.length === 0
      ? 'There is none at all.'
      : `There is: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}.`
  throw new CommandFailure(EXIT.failed, escapeControls(`${file.path} has no server "${name}". ${hint}`))
}

/** Shows what changes, and writes it, unless that is a trial only or would make a config that does not work. */
export async function writeChanges(
  file: ConfigText,
  changes: Parameters<typeof checkChanges>[1],
  options: EditOptions,
): Promise<void> {
  const revision = await checkChanges(file, changes, process.env)
  if (!revision) {
    throw new CommandFailure(
      EXIT.failed,
      `${file.path} is written in a way that cannot be changed here without a loss, so nothing was changed; edit it by hand.`,
    )
  }
  if (revision.refused.length > 0) {
    const faults = explainFaults(revision.refused, file.path)
    throw new CommandFailure(
      EXIT.config,
      `The changed config would be wrong, so nothing was changed.\n${faults}`,
    )
  }
  if (options.dryRun || !options.quiet) show(file, revision)
  if (revision.unset.length > 0) {
    const color = painter(process.stderr)('red', '') !== ''
    say(
      renderFaults(
        revision.unset.map(fault => ({ ...fault, severity: 'warning' as const })),
        { path: file.path, color },
      ),
    )
  }
  if (options.dryRun) {
    if (!options.quiet) say(`${file.path} was not changed: this was a dry run.`)
    return
  }
  await save(file, revision, options)
}

function show(file: ConfigText, { diff }: Revision): void {
  const paint = painter(process.stdout)
  print(paint('bold', file.path))
  for (const line of diff) {
    const shown = escapeControls(line)
    if (line.startsWith('+')) print(paint('green', shown))
    else if (line.startsWith('-')) print(paint('red', shown))
    else print(paint('dim', shown))
  }
}

async function save(file: ConfigText, { text }: Revision, { quiet }: EditOptions): Promise<void> {
  try {
    const { target, backup } = await saveText(file.path, file.bytes, text)
    if (quiet) return
    const link = target === file.path ? '' : ` (a link to ${target})`
    if (backup === null) say(`Created ${file.path}.`)
    else say(`Changed ${file.path}${link}; what it was before is in ${backup}.`)
  } catch (thrown) {
    if (!(thrown instanceof NotSaved)) throw thrown
    throw new CommandFailure(EXIT.failed, `${thrown.message}. Nothing was changed.`)
  }
}
