import { stripVTControlCharacters } from 'node:util'
import type { UpstreamStatus } from '../control/index.js'
import { escapeControls } from '../observe/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { followControl, gatewayBase, notRunning, type RemoteOptions, readControl } from './remote.js'
import { print, say, type TalkOptions, untilOutputIsLost } from './talk.js'

export interface LogsOptions extends TalkOptions, RemoteOptions {
  readonly follow?: boolean
}

/** What a server wrote to stderr: the last lines, and with `--follow` each new one. */
export async function logs(name: string, options: LogsOptions): Promise<number> {
  const base = await gatewayBase(options)
  const path = `/api/v1/upstreams/${encodeURIComponent(name)}`
  const server = await readControl<UpstreamStatus>(base, path)
  if (!server) throw notRunning(base)
  if (server.transport !== 'stdio' && !options.quiet)
    say(
      `${name} is no program of this gateway, so it has no stderr here; "holdfast status ${name}" tells its state.`,
    )
  if (options.follow) return follow(base, path, options)
  const read = await readControl<{ lines: readonly string[] }>(base, `${path}/logs`)
  if (!read) throw notRunning(base)
  if (options.json) print(JSON.stringify(read, null, 2))
  else for (const line of read.lines) print(readable(line))
  return EXIT.ok
}

async function follow(base: string, path: string, options: LogsOptions): Promise<number> {
  const lost = untilOutputIsLost()
  const tell = (event: string, data: unknown) => {
    if (event === 'lost') return tellLost(data as { count: number }, options)
    if (event !== 'line') return
    const { line } = data as { line: string }
    print(options.json ? JSON.stringify({ line }) : readable(line))
  }
  const answered = await followControl(base, `${path}/logs?follow`, tell, lost)
  if (lost.aborted) return EXIT.ok
  if (!answered) throw notRunning(base)
  throw new CommandFailure(EXIT.unreachable, `The gateway at ${base} went away.`)
}

/** This reader was too slow for the server, or stood still. */
function tellLost({ count }: { readonly count: number }, options: LogsOptions): void {
  if (options.json) print(JSON.stringify({ lost: count }))
  else say(`${count} lines came faster than they were read here, and are left out.`)
}

/** A server's text must not move the cursor or recolour what comes after it. */
function readable(line: string): string {
  return escapeControls(stripVTControlCharacters(line).replaceAll('\t', '    '))
}
