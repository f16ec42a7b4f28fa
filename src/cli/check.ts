import { loadConfig } from '../config/index.js'
import { explain, locateConfig } from './config-file.js'
import { EXIT } from './exit.js'
import { print, say, type TalkOptions } from './talk.js'

export interface CheckOptions extends TalkOptions {
  readonly config?: string
}

/** Validates a config without running it: every fault at once. */
export async function check(file: string | undefined, options: CheckOptions): Promise<number> {
  const path = locateConfig(file ?? options.config)
  const reading = await loadConfig(path, { env: process.env })
  const errors = reading.faults.filter(fault => fault.severity === 'error')
  const servers = reading.upstreams.map(upstream => upstream.name)
  if (options.json) {
    print(JSON.stringify({ ok: errors.length === 0, path, servers, faults: reading.faults }, null, 2))
  } else {
    if (reading.faults.length > 0) say(explain(reading, path))
    if (errors.length === 0 && !options.quiet) {
      print(`${path} is fine: ${servers.length} ${servers.length === 1 ? 'server' : 'servers'}.`)
    }
  }
  return errors.length === 0 ? EXIT.ok : EXIT.config
}
