import type { GatewayStatus, UpstreamStatus } from '../control/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { gatewayBase, notRunning, type RemoteOptions, readControl } from './remote.js'
import { renderTable } from './status-table.js'
import { print, type TalkOptions } from './talk.js'
import { painter, widthOf } from './terminal.js'

export interface StatusOptions extends TalkOptions, RemoteOptions {
  readonly watch?: boolean
}

const WATCH_MS = 1_000

/** What is up, what is down, since when and why. Exit 1 when the one server asked for is down. */
export async function status(name: string | undefined, options: StatusOptions): Promise<number> {
  const base = await gatewayBase(options)
  for (;;) {
    const shown = await show(base, name, options)
    if (!options.watch) return name !== undefined && shown.some(isDown) ? EXIT.failed : EXIT.ok
    await new Promise(resolve => setTimeout(resolve, WATCH_MS))
  }
}

async function show(
  base: string,
  name: string | undefined,
  options: StatusOptions,
): Promise<UpstreamStatus[]> {
  const state = await readControl<GatewayStatus>(base, '/api/v1/status')
  if (!state) throw notRunning(base)
  const upstreams = state.upstreams.filter(upstream => name === undefined || upstream.name === name)
  if (name !== undefined && upstreams.length === 0) throw unknownServer(name, state)
  if (options.json) {
    print(JSON.stringify(name === undefined ? state : upstreams[0], null, options.watch ? undefined : 2))
    return upstreams
  }
  const clear = options.watch && process.stdout.isTTY ? '\x1b[H\x1b[2J' : ''
  const table = renderTable(upstreams, painter(process.stdout), widthOf(process.stdout))
  const { version, url, pid, startedAt } = state.gateway
  const head = `Holdfast ${version}  ${url ?? base}  pid ${pid}  since ${startedAt.slice(11, 19)}`
  print(`${clear}${options.quiet ? '' : `${head}\n\n`}${table.join('\n')}`)
  return upstreams
}

function isDown(upstream: UpstreamStatus): boolean {
  return upstream.health === 'unhealthy'
}

function unknownServer(name: string, state: GatewayStatus): CommandFailure {
  const known = state.upstreams.map(upstream => upstream.name).join(', ')
  return new CommandFailure(
    EXIT.failed,
    `No server named "${name}" is configured. There is: ${known || 'none'}.`,
  )
}
