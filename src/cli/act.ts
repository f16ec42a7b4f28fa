import { setTimeout as delay } from 'node:timers/promises'
import type { UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { EXIT } from './exit.js'
import { gatewayBase, notRunning, postControl, type RemoteOptions, readControl } from './remote.js'
import { print, type TalkOptions } from './talk.js'

export interface ActOptions extends TalkOptions, RemoteOptions {}

/** Ending a stubborn child alone may take five seconds. */
const PATIENCE_MS = 30_000
/** How long a start is watched before the command leaves it to itself. */
const START_MS = 10_000
const LOOK_MS = 100

/** Does one thing to one server of a running gateway, and resolves with how it stands then. */
export async function act(action: string, name: string, options: ActOptions): Promise<UpstreamStatus> {
  const base = await gatewayBase(options)
  if (!(await readControl(base, '/healthz'))) throw notRunning(base)
  const path = `/api/v1/upstreams/${encodeURIComponent(name)}`
  return postControl<UpstreamStatus>(base, `${path}/${action}`, PATIENCE_MS)
}

/** As `act`, then watches the start: what matters is whether it comes up. */
export async function actAndWatch(
  action: string,
  name: string,
  options: ActOptions,
): Promise<UpstreamStatus> {
  const base = await gatewayBase(options)
  let status = await act(action, name, options)
  const end = Date.now() + START_MS
  while (isComing(status) && Date.now() < end) {
    await delay(LOOK_MS)
    const seen = await readControl<UpstreamStatus>(base, `/api/v1/upstreams/${encodeURIComponent(name)}`)
    if (!seen) throw notRunning(base)
    status = seen
  }
  return status
}

/** Up, but with its lists still to come, is not up yet for somebody who waits for it. */
function isComing({ state, settled }: UpstreamStatus): boolean {
  return state === 'starting' || (state === 'ready' && !settled)
}

/** One sentence, or the status as JSON. Exit 1 when the server does not work. */
export function tell(status: UpstreamStatus, options: ActOptions): number {
  if (options.json) print(JSON.stringify(status, null, 2))
  else if (!options.quiet) print(escapeControls(status.summary))
  return status.health === 'unhealthy' || status.state === 'misconfigured' ? EXIT.failed : EXIT.ok
}
