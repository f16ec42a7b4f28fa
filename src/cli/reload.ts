import { escapeControls } from '../observe/index.js'
import type { ReloadResult } from '../wiring/index.js'
import { EXIT } from './exit.js'
import { gatewayBase, notRunning, postControl, type RemoteOptions, readControl } from './remote.js'
import { print, say, type TalkOptions } from './talk.js'

export interface ReloadOptions extends TalkOptions, RemoteOptions {
  readonly dryRun?: boolean
}

/** A changed server is waited for, and a change may come while another one is being made. */
const PATIENCE_MS = 60_000

/** Makes a running gateway read its config again. */
export async function reload(options: ReloadOptions): Promise<number> {
  const base = await gatewayBase(options)
  if (!(await readControl(base, '/healthz'))) throw notRunning(base)
  const path = `/api/v1/reload${options.dryRun ? '?dryRun=1' : ''}`
  const result = await postControl<ReloadResult>(base, path, PATIENCE_MS)
  if (options.json) print(JSON.stringify(result, null, 2))
  else tell(result, options)
  return result.ok ? EXIT.ok : EXIT.failed
}

function tell(result: ReloadResult, { dryRun, quiet }: ReloadOptions): void {
  for (const error of result.errors) say(escapeControls(error))
  if (quiet) return
  for (const warning of result.warnings) say(`warning: ${escapeControls(warning)}`)
  for (const change of result.changes) print(escapeControls(sentence(change)))
  if (result.reordered) print('The servers come in another order.')
  if (result.settings.length > 0) print(`The gateway itself: ${result.settings.join(', ')}`)
  if (result.unchanged.length > 0) print(`unchanged: ${result.unchanged.map(escapeControls).join(', ')}`)
  if (dryRun) print('Nothing was changed: this was a dry run.')
}

const HOW: Readonly<Record<ReloadResult['changes'][number]['how'], string>> = {
  added: 'added',
  removed: 'removed',
  restarted: 'updated, by a new one in its place',
  updated: 'updated in place',
}

/** `files: updated in place: prefix "files" -> "f"`. */
function sentence({ server, how, options }: ReloadResult['changes'][number]): string {
  const parts = options.map(({ option, before, after }) =>
    before === undefined ? option : `${option} ${before} -> ${after}`,
  )
  return [`${server}: ${HOW[how]}`, ...(parts.length > 0 ? [parts.join(', ')] : [])].join(': ')
}
