import { createApp } from '../app.js'
import { bridge } from './bridge.js'
import { explain, openConfig } from './config-file.js'
import { CommandFailure, EXIT } from './exit.js'
import { keepUp, takeOver, type WatchOptions } from './keep-up.js'
import { endProcess, surviveFaults, watchStopSignals } from './stop-signals.js'
import { openLog, say, type TalkOptions } from './talk.js'

export interface StdioOptions extends TalkOptions, WatchOptions {
  readonly config?: string
  /** A single faulty entry keeps the gateway from starting. */
  readonly strict?: boolean
  readonly url?: string
}

/** The gateway as a stdio MCP server; with `--url`, a bridge to one that is running. */
export async function stdio(options: StdioOptions): Promise<number> {
  if (options.url && options.strict)
    throw new CommandFailure(EXIT.usage, '--strict is about a config, and a bridge (--url) reads none')
  try {
    return await (options.url ? bridge(options.url) : serveStdio(options))
  } finally {
    // It would keep the process for as long as the client leaves it open.
    process.stdin.destroy()
    endProcess()
  }
}

/** Until a signal, or the end of the client's input. */
async function serveStdio(options: StdioOptions): Promise<number> {
  const { path, reading, file } = await openConfig(options.config, options.strict)
  if (reading.faults.length > 0) say(explain(reading, path))
  const app = createApp({ reading, configPath: path, load: file.read, log: openLog(options) })
  surviveFaults()
  const stop = watchStopSignals(
    () => app.kill(),
    () => takeOver(app),
  )
  const unwatch = keepUp(app, file, options)
  try {
    app.boot()
    await Promise.race([app.serveStdio(process.stdin, process.stdout), stop.first])
    stop.begun()
  } finally {
    unwatch()
    await app.close()
  }
  return EXIT.ok
}
