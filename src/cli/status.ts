import type { GatewayStatus, UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { gatewayBase, notRunning, type RemoteOptions, readControl } from './remote.js'
import { renderCard } from './status-card.js'
import { renderTable } from './status-table.js'
import { print, type TalkOptions, untilOutputIsLost } from './talk.js'
import { painter, span, widthOf } from './terminal.js'

export interface StatusOptions extends TalkOptions, RemoteOptions {
  readonly watch?: boolean
}

const WATCH_MS = 1_000

/** What is up, what is down, since when and why. Exit 1 when the one server asked for is down. */
export async function status(name: string | undefined, options: StatusOptions): Promise<number> {
  const base = await gatewayBase(options)
  const lost = untilOutputIsLost()
  for (let first = true; ; first = false) {
    const state = await readControl<GatewayStatus>(base, '/api/v1/status')
    // A gateway that is restarted comes back; one that was never there does not.
    if (!state && (first || !options.watch)) throw notRunning(base)
    const shown = state ? show(state, base, name, options) : tellGone(base, options)
    if (!options.watch || lost.aborted)
      return name !== undefined && shown.some(isDown) ? EXIT.failed : EXIT.ok
    await new Promise(resolve => setTimeout(resolve, WATCH_MS))
  }
}

function show(
  state: GatewayStatus,
  base: string,
  name: string | undefined,
  options: StatusOptions,
): readonly UpstreamStatus[] {
  const upstreams = state.upstreams.filter(upstream => name === undefined || upstream.name === name)
  const [one] = upstreams
  if (name !== undefined && !one) throw unknownServer(name, state)
  if (options.json) {
    print(JSON.stringify(name === undefined ? state : one, null, options.watch ? undefined : 2))
    return upstreams
  }
  const paint = painter(process.stdout)
  const columns = widthOf(process.stdout)
  const now = Date.now()
  const lines =
    name !== undefined && one
      ? renderCard(one, paint, columns, now)
      : renderTable(upstreams, paint, { columns, now })
  print(`${clearScreen(options)}${options.quiet ? '' : `${headOf(state, base, now)}\n\n`}${lines.join('\n')}`)
  return upstreams
}

function headOf({ gateway, upstreams }: GatewayStatus, base: string, now: number): string {
  const { version, url, pid, startedAt, draining } = gateway
  const up = upstreams.filter(upstream => upstream.state === 'ready').length
  const stopping = draining ? ', stopping' : ''
  const age = span(now - Date.parse(startedAt))
  const head = `Holdfast ${version}  ${url ?? base}\n${up} of ${upstreams.length} up${stopping}, pid ${pid}, running for ${age}`
  return [head, ...configTrouble(gateway.config, now)].join('\n')
}

/** A running gateway may be older or newer than this command. */
function configTrouble(config: Partial<GatewayStatus['gateway']['config']>, now: number): readonly string[] {
  const { lastError, warnings = [] } = config
  const shown = warnings.map(warning => `config: ${escapeControls(warning)}`)
  if (!lastError) return shown
  const since = span(now - Date.parse(lastError.at))
  return [`config: not taken over ${since} ago: ${escapeControls(lastError.message)}`, ...shown]
}

function tellGone(base: string, options: StatusOptions): readonly UpstreamStatus[] {
  if (options.json) print(JSON.stringify({ gateway: null }))
  else print(`${clearScreen(options)}No gateway answers at ${base}; looking again every second.`)
  return []
}

function clearScreen({ watch }: StatusOptions): string {
  return watch && process.stdout.isTTY ? '\x1b[H\x1b[2J' : ''
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
