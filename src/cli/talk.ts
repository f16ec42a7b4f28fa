import { jsonLog, type Log, textLog } from '../observe/index.js'

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
