import type { UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { offersInWords } from './offers.js'
import { FIXED_SPACE, type Paint, pad, shorten, span, wrap } from './terminal.js'

export const MARK = { healthy: '●', degraded: '◐', unhealthy: '✗', unknown: '○' } as const
export const COLOR = { healthy: 'green', degraded: 'yellow', unhealthy: 'red', unknown: 'dim' } as const

/** What a person has to do; for the rest the gateway does it by itself. */
const TO_DO: Readonly<Partial<Record<UpstreamStatus['action'], (name: string) => string>>> = {
  sign_in: () => 'sign in to it',
  restart: name => `run "holdfast restart ${name}"`,
  fix_config: () => 'correct its entry in the config',
  approve: name => `look at what changed, then run "holdfast approve ${name}"`,
}

export interface TableOptions {
  readonly columns: number
  /** Wall-clock ms: adds how long each has been in its state, and tells the next try from now on. */
  readonly now?: number
}

/** The table of upstreams: one row each, causes wrapped below their row so that nothing is cut off. */
export function renderTable(
  upstreams: readonly UpstreamStatus[],
  paint: Paint,
  { columns, now }: TableOptions,
): string[] {
  if (upstreams.length === 0) return ['No servers are configured.']
  const names = upstreams.map(upstream => escapeControls(upstream.name))
  const nameWidth = widest(names, 6, columns < 72 ? 12 : columns < 100 ? 18 : 24)
  const states = upstreams.map(stateInWords)
  const stateWidth = widest(states, 5, 13)
  const spans = now === undefined ? null : upstreams.map(upstream => span(now - Date.parse(upstream.since)))
  const spanWidth = spans ? widest(spans, 3, 8) : 0
  const cells = (name: string, state: string, since: string) =>
    `${pad(name, nameWidth)}  ${pad(state, stateWidth)}  ${spans ? `${pad(since, spanWidth)}  ` : ''}`
  const indent = cells('', '', '').length + 2
  const lines = [paint('dim', `  ${cells('SERVER', 'STATE', 'FOR')}DETAILS`)]
  for (const [at, upstream] of upstreams.entries()) {
    const color = COLOR[upstream.health]
    const [first = '', ...rest] = details(upstream, now).flatMap(text => wrap(text, columns - indent))
    const state = paint(color, states[at] ?? '')
    const row = cells(shorten(names[at] ?? '', nameWidth), state, spans?.[at] ?? '')
    lines.push(`${paint(color, MARK[upstream.health])} ${row}${first}`)
    for (const line of rest) lines.push(`${' '.repeat(indent)}${line}`)
  }
  return lines
}

function widest(texts: readonly string[], least: number, most: number): number {
  return Math.min(most, Math.max(least, ...texts.map(text => text.length)))
}

/** A connection that stands says little while calls on it fail. */
export function stateInWords({ state, health }: UpstreamStatus): string {
  return state === 'ready' && health === 'unhealthy' ? health : state.replaceAll('_', ' ')
}

/** Each text begins a line of its own. */
function details(upstream: UpstreamStatus, now: number | undefined): readonly string[] {
  if (upstream.state === 'ready' && upstream.reason === null) {
    const toDo = toDoFor(upstream)
    return toDo === null ? [offersIn(upstream)] : [offersIn(upstream), `→ ${toDo}`]
  }
  const why = `${escapeControls(upstream.reason ?? '')}${nextTry(upstream, now)}`
  const toDo = toDoFor(upstream)
  return toDo === null || now === undefined ? [why] : [why, `→ ${toDo}`]
}

function nextTry({ nextAttemptAt }: UpstreamStatus, now: number | undefined): string {
  if (nextAttemptAt === null) return ''
  if (now === undefined) return `; next try at ${nextAttemptAt.slice(11, 19)}`
  return `; next try in ${span(Date.parse(nextAttemptAt) - now).replaceAll(' ', FIXED_SPACE)}`
}

/** What a person has to do about it, as a request; null when there is nothing. */
export function toDoFor({ action, name }: UpstreamStatus): string | null {
  return TO_DO[action]?.(escapeControls(name)) ?? null
}

/** What a server offers, what of it cannot be had, and over what. */
export function offersIn(upstream: UpstreamStatus): string {
  const { catalog } = upstream
  const trouble = Object.values(catalog.failed).map(reason => `, but ${escapeControls(reason)}`)
  const hidden =
    catalog.shadowed.length > 0 ? `, ${catalog.shadowed.length} names taken by earlier servers` : ''
  return `${offersInWords(catalog)}${hidden}${trouble.join('')} (${upstream.transport}, ${upstream.era ?? '?'})`
}
