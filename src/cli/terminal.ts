import { stripVTControlCharacters } from 'node:util'

const CODES = { red: 31, green: 32, yellow: 33, blue: 34, dim: 2, bold: 1 } as const
export type Paint = (color: keyof typeof CODES, text: string) => string

interface Sink {
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Colours only on a terminal, and never against NO_COLOR (no-color.org). */
export function painter(sink: Sink, env: NodeJS.ProcessEnv = process.env): Paint {
  const noColor = (env['NO_COLOR'] ?? '') !== ''
  if (!sink.isTTY || noColor || env['TERM'] === 'dumb') return (_color, text) => text
  return (color, text) => `\x1b[${CODES[color]}m${text}\x1b[0m`
}

/** `4 s`, `12 min`, `3 h`, `5 days`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`
}

export function widthOf(sink: Sink): number {
  return Math.max(40, sink.columns ?? 80)
}

/** Pads by what is seen, not by what is sent. */
export function pad(text: string, width: number): string {
  const seen = stripVTControlCharacters(text).length
  return seen >= width ? text : text + ' '.repeat(width - seen)
}

/** Cuts plain text that is longer than `width`, and shows that it did. */
export function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}

const NARROWEST = 12

/** A space at which `wrap` does not break a line. */
export const FIXED_SPACE = '\u00a0'

/** Breaks plain text into lines of at most `most`, at spaces where there are any. */
export function wrap(text: string, most: number): string[] {
  const width = Math.max(NARROWEST, most)
  const lines: string[] = []
  let rest = text
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width)
    const cut = space > width / 3 ? space : width
    lines.push(rest.slice(0, cut).trimEnd())
    rest = rest.slice(cut).trimStart()
  }
  if (rest !== '' || lines.length === 0) lines.push(rest)
  return lines.map(line => line.replaceAll(FIXED_SPACE, ' '))
}
