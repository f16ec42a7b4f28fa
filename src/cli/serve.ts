import { type App, createApp } from '../app.js'
import { isGatewayError } from '../model/index.js'
import { explain, openConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'
import { keepUp, takeOver, type WatchOptions } from './keep-up.js'
import { LiveTable } from './live-table.js'
import { endProcess, surviveFaults, watchStopSignals } from './stop-signals.js'
import { openLog, print, say, type TalkOptions } from './talk.js'
import { painter } from './terminal.js'

export interface ServeOptions extends TalkOptions, WatchOptions {
  readonly config?: string
  /** A single faulty entry keeps the gateway from starting. */
  readonly strict?: boolean
  readonly host?: string
  readonly port?: number
}

/** Runs the gateway until a signal. */
export async function serve(options: ServeOptions): Promise<number> {
  const { path, reading, file } = await openConfig(options.config, options.strict)
  if (reading.faults.length > 0 && !options.quiet) say(explain(reading, path))
  const table = options.json || options.quiet ? null : new LiveTable(process.stdout)
  const log = openLog(options)
  const app = createApp({
    reading,
    configPath: path,
    load: file.read,
    log: record => (table?.holdsBack(record) ? undefined : log(record)),
  })
  surviveFaults()
  const stop = watchStopSignals(
    () => app.kill(),
    () => takeOver(app),
  )
  let unwatch = () => {}
  try {
    const url = await listen(app, options)
    unwatch = keepUp(app, file, options)
    if (options.json) print(JSON.stringify({ event: 'ready', url, pid: process.pid }))
    else greet(app, url, table, options)
    const signal = await stop.first
    if (!options.quiet) say(`${signal}: draining, then stopping every server`)
    return EXIT.ok
  } finally {
    unwatch()
    table?.end()
    stop.begun()
    await app.close()
    endProcess()
  }
}

async function listen(app: App, { host, port }: ServeOptions): Promise<string> {
  try {
    const listener = await app.listen({ ...(host ? { host } : {}), ...(port === undefined ? {} : { port }) })
    return `${listener.url}/mcp`
  } catch (thrown) {
    if (isGatewayError(thrown)) throw new CommandFailure(EXIT.config, thrown.message)
    throw thrown
  }
}

function greet(app: App, url: string, table: LiveTable | null, { quiet }: ServeOptions): void {
  if (quiet) {
    print(url)
    return
  }
  const paint = painter(process.stdout)
  print(`${paint('bold', 'Holdfast')} is listening on ${paint('bold', url)}\n`)
  print(paint('dim', 'Connect a client:'))
  print(`  claude mcp add --transport http holdfast ${url}`)
  print(`  codex mcp add holdfast --url ${url}`)
  print(`  code --add-mcp '{"name":"holdfast","type":"http","url":"${url}"}'`)
  print(`  Cursor, others: {"mcpServers":{"holdfast":{"url":"${url}"}}}\n`)
  table?.follow(app)
}
