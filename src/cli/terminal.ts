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

export function widthOf(sink: Sink): number {
  return Math.max(40, sink.columns ?? 80)
}

/** Pads by what is seen, not by what is sent. */
export function pad(text: string, width: number): string {
  const seen = stripVTControlCharacters(text).length
  return seen >= width ? text : text + ' '.repeat(width - seen)
}

/** Breaks plain text into lines of at most `width`, at spaces where there are any. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let rest = text
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width)
    const cut = space > width / 3 ? space : width
    lines.push(rest.slice(0, cut).trimEnd())
    rest = rest.slice(cut).trimStart()
  }
  return rest === '' && lines.length > 0 ? lines : [...lines, rest]
}
