export type Level = 'info' | 'warn' | 'error'

export interface LogRecord {
  readonly level: Level
  readonly message: string
  readonly upstream?: string
}

export type Log = (record: LogRecord) => void

/** Text of peers must not be able to forge or colour log lines. */
export function escapeControls(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, char => {
    return `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}

/** One line a record: `12:03:44 warn  files: exited with code 1`. */
export function textLog(write: (line: string) => void, wallTime: () => number): Log {
  return ({ level, message, upstream }) => {
    const time = new Date(wallTime()).toISOString().slice(11, 19)
    write(`${time} ${level.padEnd(5)} ${upstream ? `${upstream}: ` : ''}${escapeControls(message)}\n`)
  }
}

export function jsonLog(write: (line: string) => void, wallTime: () => number): Log {
  return record => write(`${JSON.stringify({ at: new Date(wallTime()).toISOString(), ...record })}\n`)
}
