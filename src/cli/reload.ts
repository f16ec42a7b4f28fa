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
  const { added, removed, updated, unchanged } = result
  for (const [word, names] of Object.entries({ added, removed, updated, unchanged })) {
    if (names.length > 0) print(`${word}: ${names.map(escapeControls).join(', ')}`)
  }
  if (dryRun) print('Nothing was changed: this was a dry run.')
}
