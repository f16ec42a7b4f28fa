import { jsonLog, type Log, textLog } from '../observe/index.js'

/**
 * Whoever reads may leave first, as `| head` does; what is written then is lost, and is no fault.
 * @returns tells why output is missing for another reason, as on a full disk; null where none is
 */
export function surviveReaders(): () => string | null {
  let fault: string | null = null
  process.stderr.on('error', () => undefined)
  process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EPIPE') fault ??= cause.message
  })
  return () => fault
}

/** For who prints without end: aborted when nothing that is printed arrives any more. */
export function untilOutputIsLost(): AbortSignal {
  const lost = new AbortController()
  process.stdout.once('error', () => lost.abort())
  return lost.signal
}

/** Data goes to stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Talk goes to stderr. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

export interface TalkOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

/** Log lines on stderr: text, or JSON with `--json`; warnings and errors alone with `--quiet`. */
export function openLog({ json, quiet }: TalkOptions): Log {
  const write = (line: string) => void process.stderr.write(line)
  const log = (json ? jsonLog : textLog)(write, Date.now)
  return record => {
    if (!quiet || record.level !== 'info') log(record)
  }
}
