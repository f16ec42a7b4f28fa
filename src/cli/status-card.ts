import type { UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { COLOR, MARK, offersIn, toDoFor } from './status-table.js'
import { type Paint, pad, span, wrap } from './terminal.js'

const LABEL_WIDTH = 11

/** Everything about one server, a fact a line. */
export function renderCard(upstream: UpstreamStatus, paint: Paint, columns: number, now: number): string[] {
  const color = COLOR[upstream.health]
  const head = `${paint(color, MARK[upstream.health])} ${paint('bold', escapeControls(upstream.name))}`
  const lines = [`${head}  ${paint(color, upstream.state.replaceAll('_', ' '))}, ${upstream.health}`]
  for (const [label, text] of facts(upstream, now)) {
    const [first = '', ...rest] = wrap(escapeControls(text), columns - LABEL_WIDTH - 4)
    lines.push(`  ${paint('dim', pad(label, LABEL_WIDTH))}  ${first}`)
    for (const line of rest) lines.push(`${' '.repeat(LABEL_WIDTH + 4)}${line}`)
  }
  return lines
}

function facts(upstream: UpstreamStatus, now: number): readonly (readonly [string, string])[] {
  const { reason, lastError, lastOkAt, nextAttemptAt, attempts, breaker, catalog, pid, restarts } = upstream
  const ago = (time: string) => `${time} (${span(now - Date.parse(time))} ago)`
  const toDo = toDoFor(upstream)
  return [
    ['since', ago(upstream.since)],
    ...row('last answer', lastOkAt && ago(lastOkAt)),
    ...row('reason', reason),
    ...row('to do', toDo),
    ...row(
      'next try',
      nextAttemptAt &&
        `in ${span(Date.parse(nextAttemptAt) - now)}${attempts > 0 ? `, after ${attempts} that failed` : ''}`,
    ),
    ...row('last error', lastError && `${lastError.message}, ${ago(lastError.at)}`),
    ['offers', offersIn(upstream)],
    ...row('lists', catalog.refreshedAt && `${catalog.state}, of ${ago(catalog.refreshedAt)}`),
    ...catalog.shadowed.map(
      ({ kind, name, by, reachableAs }) =>
        ['hidden', `${name} (${kind}) by ${by}${reachableAs ? `; call it as ${reachableAs}` : ''}`] as const,
    ),
    ...catalog.changed.map(({ name, diff, at }) => ['changed', `${name}, ${ago(at)}: ${diff}`] as const),
    ...row('held', catalog.held.map(({ name, because }) => `${name} (${because})`).join(', ')),
    ...catalog.flagged.map(({ kind, name, detail }) => ['look at', `${name} (${kind}): ${detail}`] as const),
    ...row('breaker', breaker === 'closed' ? null : breaker.replaceAll('_', ' ')),
    ...row('pid', pid && String(pid)),
    ...row('instances', instancesIn(upstream)),
    ['restarts', String(restarts)],
    ['in flight', `${upstream.inFlight}, and ${upstream.queued} waiting`],
  ]
}

function instancesIn({ isolation, instances }: UpstreamStatus): string | null {
  if (!instances) return null
  const { total, unhealthy, reason } = instances
  const ill = unhealthy > 0 ? `; ${unhealthy} unhealthy: ${reason}` : ''
  return `${total}, one for each ${isolation === 'session' ? 'session' : 'identity'}${ill}`
}

function row(label: string, text: string | number | null): readonly (readonly [string, string])[] {
  return text === null || text === '' || text === 0 ? [] : [[label, String(text)]]
}
