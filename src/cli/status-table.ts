import type { UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { type Paint, pad, wrap } from './terminal.js'

const MARK = { healthy: '●', degraded: '◐', unhealthy: '✗', unknown: '○' } as const
const COLOR = { healthy: 'green', degraded: 'yellow', unhealthy: 'red', unknown: 'dim' } as const

/** The table of upstreams: one row each, causes wrapped below their row so that nothing is cut off. */
export function renderTable(upstreams: readonly UpstreamStatus[], paint: Paint, columns: number): string[] {
  if (upstreams.length === 0) return ['No servers are configured.']
  const nameWidth = widest(
    upstreams.map(upstream => upstream.name),
    6,
    24,
  )
  const stateWidth = widest(
    upstreams.map(upstream => words(upstream.state)),
    5,
    13,
  )
  const indent = 2 + nameWidth + 2
  const lines = [paint('dim', `  ${pad('SERVER', nameWidth)}  ${pad('STATE', stateWidth)}  DETAILS`)]
  for (const upstream of upstreams) {
    const color = COLOR[upstream.health]
    const [first = '', ...rest] = wrap(details(upstream), columns - indent - stateWidth - 2)
    const head = `${paint(color, MARK[upstream.health])} ${pad(escapeControls(upstream.name), nameWidth)}`
    lines.push(`${head}  ${pad(paint(color, words(upstream.state)), stateWidth)}  ${first}`)
    for (const line of rest) lines.push(`${' '.repeat(indent + stateWidth + 2)}${line}`)
  }
  return lines
}

function widest(texts: readonly string[], least: number, most: number): number {
  return Math.min(most, Math.max(least, ...texts.map(text => text.length)))
}

function words(state: string): string {
  return state.replace('_', ' ')
}

function details(upstream: UpstreamStatus): string {
  const { catalog } = upstream
  if (upstream.state !== 'ready') {
    const next = upstream.nextAttemptAt ? `; next try at ${upstream.nextAttemptAt.slice(11, 19)}` : ''
    return `${escapeControls(upstream.reason ?? '')}${next}`
  }
  const offers = (
    [
      [catalog.tools, 'tools'],
      [catalog.resources, 'resources'],
      [catalog.resourceTemplates, 'templates'],
      [catalog.prompts, 'prompts'],
    ] as const
  ).flatMap(([n, what]) => (n > 0 ? [`${n} ${what}`] : []))
  const trouble = Object.values(catalog.failed).map(reason => `, but ${escapeControls(reason)}`)
  const hidden =
    catalog.shadowed.length > 0 ? `, ${catalog.shadowed.length} names taken by earlier servers` : ''
  return `${offers.join(', ') || 'nothing offered'}${hidden}${trouble.join('')} (${upstream.transport}, ${upstream.era ?? '?'})`
}
