import { createApp } from '../app.js'
import { bridge } from './bridge.js'
import { explain, openConfig } from './config-file.js'
import { EXIT } from './exit.js'
import { firstStopSignal, surviveFaults } from './stop-signals.js'
import { openLog, say, type TalkOptions } from './talk.js'

export interface StdioOptions extends TalkOptions {
  readonly config?: string
  readonly url?: string
}

/** The gateway as a stdio MCP server; with `--url`, a bridge to one that is running. */
export async function stdio(options: StdioOptions): Promise<number> {
  if (options.url) return bridge(options.url)
  const { path, reading } = await openConfig(options.config)
  if (reading.faults.length > 0) say(explain(reading, path))
  const app = createApp({ reading, configPath: path, log: openLog(options) })
  surviveFaults()
  const stop = firstStopSignal(() => app.kill())
  app.boot()
  await Promise.race([app.serveStdio(process.stdin, process.stdout), stop])
  await app.close()
  return EXIT.ok
}
