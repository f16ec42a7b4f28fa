import { escapeControls } from '../observe/index.js'
import type { TestReport } from '../runtime/test-report.js'
import { offersInWords } from './offers.js'
import { type Paint, pad, shorten, wrap } from './terminal.js'

const LONGEST_NAME = 20

/** One paragraph a server: whether it works, and if not, how far it came and why. */
export function renderReports(reports: readonly TestReport[], paint: Paint, columns: number): string[] {
  if (reports.length === 0) return ['No servers are configured.']
  const longest = Math.min(LONGEST_NAME, Math.floor(columns / 3))
  const nameWidth = Math.min(longest, Math.max(...reports.map(report => report.upstream.length)))
  const indent = nameWidth + 4
  return reports.flatMap(report => {
    const mark = report.ok ? paint('green', '●') : paint('red', '✗')
    const name = pad(shorten(escapeControls(report.upstream), nameWidth), nameWidth)
    const [first = '', ...rest] = describe(report).flatMap(text =>
      wrap(escapeControls(text), columns - indent),
    )
    return [`${mark} ${name}  ${first}`, ...rest.map(line => `${' '.repeat(indent)}${line}`)]
  })
}

function describe(report: TestReport): readonly string[] {
  return report.ok ? success(report) : failure(report)
}

function success(report: TestReport): readonly string[] {
  const { counts, failed, transport, protocolVersion, serverInfo, latencyMs, attempts } = report
  const offers = counts ? offersInWords(counts) : 'nothing offered'
  const who = serverInfo ? `${serverInfo.name} ${serverInfo.version}, ` : ''
  const tries = attempts > 1 ? `, at try ${attempts}` : ''
  return [
    `works: ${offers} in ${latencyMs} ms${tries} (${who}${transport}, ${protocolVersion})`,
    ...Object.values(failed).map(reason => `but ${reason}`),
  ]
}

function failure({ phase, error, attempts, latencyMs, causeChain }: TestReport): readonly string[] {
  const message = error?.message ?? 'no reason known'
  if (phase === null) return [`misconfigured: ${message}`]
  const tries = attempts === 1 ? `1 try, ${latencyMs} ms` : `${attempts} tries, the last took ${latencyMs} ms`
  const causes = causeChain.filter(cause => !message.includes(cause))
  const where = message.startsWith(`${phase}:`) ? '' : `${phase}: `
  return [`fails at ${where}${message} (${tries})`, ...causes.map(cause => `because of ${cause}`)]
}
