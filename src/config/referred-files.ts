import { parseEnv } from 'node:util'

/** What is larger is no secret and no list of variables. */
export const MAX_REFERRED_BYTES = 1024 * 1024

/** What a file holds, or why it cannot be read. */
export type FileText =
  | { readonly text: string }
  | { readonly message: string; readonly fix: string; readonly text?: undefined }

/**
 * The files that a config refers to: `envFile`, `${file:PATH}`. Reading a config does no I/O: what it asks for and does
 * not find here is fetched, and then the config is read again.
 */
export class ReferredFiles {
  readonly #known = new Map<string, FileText>()
  readonly #wanted = new Set<string>()

  /** Asked for, and not known yet. */
  get wanted(): readonly string[] {
    return [...this.#wanted]
  }

  /** @returns undefined when it has to be fetched first; the reading is not the last one then */
  of(path: string): FileText | undefined {
    const known = this.#known.get(path)
    if (!known) this.#wanted.add(path)
    return known
  }

  add(path: string, file: FileText): void {
    this.#known.set(path, file)
    this.#wanted.delete(path)
  }
}

export type Variables =
  | { readonly values: Readonly<Record<string, string>> }
  | { readonly values?: undefined; readonly line: number }

/** `NAME=value` lines, as dotenv reads them; or the first line that is none. */
export function parseVariables(written: string): Variables {
  const text = written.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n')
  const line = firstWrongLine(text.split('\n'))
  return line === null ? { values: parseEnv(text) as Readonly<Record<string, string>> } : { line }
}

const ASSIGNMENT = /^\s*(?:export\s+)?[^\s=#]+\s*=\s*(.*)$/

/** The parser passes over what it does not understand, each version of Node over something else. */
function firstWrongLine(lines: readonly string[]): number | null {
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? ''
    if (/^\s*(#|$)/.test(line)) continue
    const value = ASSIGNMENT.exec(line)?.[1]
    if (value === undefined) return at + 1
    const quote = /^["'`]/.exec(value)?.[0]
    if (quote === undefined || value.indexOf(quote, 1) > 0) continue
    // Up to the line in which the quotes are closed; without one they are part of the value.
    const end = lines.findIndex((other, index) => index > at && other.includes(quote))
    if (end > 0) at = end
  }
  return null
}
