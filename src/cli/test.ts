import type { GatewayStatus } from '../control/index.js'
import type { TestReport } from '../runtime/test-report.js'
import { findRunning, withOwnGateway } from './catalog-source.js'
import { CommandFailure, EXIT } from './exit.js'
import { postControl, type RemoteOptions, readControl } from './remote.js'
import { interruptible } from './stop-signals.js'
import { print, say, type TalkOptions } from './talk.js'
import { painter, widthOf } from './terminal.js'
import { renderReports } from './test-reports.js'

export interface TestCommandOptions extends TalkOptions, RemoteOptions {
  readonly all?: boolean
  /** Milliseconds a try. */
  readonly timeout: number
  /** Tries in all. */
  readonly retries: number
}

/** Tests that run at the same time: a start of many programs at once slows each of them down. */
const SIDE_BY_SIDE = 8
/** What a test may take beyond its tries: the pauses between them, and the farewell of a stubborn child. */
const MARGIN_MS = 20_000
const INTERRUPTED = 'The test was interrupted.'

type RunTest = (name: string, signal: AbortSignal) => Promise<TestReport>

/**
 * Tries servers on sessions of their own: through a running gateway where there is one, else straight from the config.
 * Exit 69 when one cannot be used, 78 when what is wrong is its entry alone.
 */
export async function test(name: string | undefined, options: TestCommandOptions): Promise<number> {
  if ((name === undefined) === !options.all)
    throw new CommandFailure(EXIT.usage, 'Name one server to test, or all of them with --all.')
  const base = await findRunning(options)
  if (process.stderr.isTTY && !options.quiet) say('Testing; a server that does not answer takes a while.')
  const reports = base
    ? await testRunning(base, name, options)
    : await withOwnGateway(options, INTERRUPTED, (gateway, stopped) => {
        const { timeout: timeoutMs, retries } = options
        const names = gateway.status().upstreams.map(upstream => upstream.name)
        return runAll(choose(name, names), stopped, (one, signal) =>
          gateway.upstream(one).test({ timeoutMs, retries, signal }),
        )
      })
  report(name, reports, options)
  return exitCodeFor(reports)
}

async function testRunning(
  base: string,
  name: string | undefined,
  { timeout, retries }: TestCommandOptions,
): Promise<readonly TestReport[]> {
  const status = await readControl<GatewayStatus>(base, '/api/v1/status')
  if (!status) throw new CommandFailure(EXIT.unreachable, `The gateway at ${base} stopped answering.`)
  const names = choose(
    name,
    status.upstreams.map(upstream => upstream.name),
  )
  const patience = retries * timeout + 2 ** retries * 500 + MARGIN_MS
  return interruptible(INTERRUPTED, stopped =>
    runAll(names, stopped, (one, signal) => {
      const path = `/api/v1/upstreams/${encodeURIComponent(one)}/test?timeoutMs=${timeout}&retries=${retries}`
      return postControl<TestReport>(base, path, patience, signal)
    }),
  )
}

function choose(name: string | undefined, names: readonly string[]): readonly string[] {
  if (name === undefined) return names
  if (names.includes(name)) return [name]
  const known = names.join(', ') || 'none'
  throw new CommandFailure(EXIT.failed, `No server named "${name}" is configured. There is: ${known}.`)
}

/** In the order of the names. */
async function runAll(
  names: readonly string[],
  signal: AbortSignal,
  run: RunTest,
): Promise<readonly TestReport[]> {
  const reports: TestReport[] = []
  const queue = names.entries()
  const work = async () => {
    for (const [at, name] of queue) reports[at] = await run(name, signal)
  }
  await Promise.all(Array.from({ length: Math.min(SIDE_BY_SIDE, names.length) }, work))
  return reports
}

function report(name: string | undefined, reports: readonly TestReport[], options: TestCommandOptions): void {
  const ok = reports.every(one => one.ok)
  if (options.json) print(JSON.stringify(name === undefined ? { ok, tests: reports } : reports[0], null, 2))
  else if (!options.quiet)
    print(renderReports(reports, painter(process.stdout), widthOf(process.stdout)).join('\n'))
}

function exitCodeFor(reports: readonly TestReport[]): number {
  const failed = reports.filter(one => !one.ok)
  if (failed.length === 0) return EXIT.ok
  return failed.every(one => one.error?.kind === 'misconfigured') ? EXIT.config : EXIT.unreachable
}
