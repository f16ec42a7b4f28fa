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

/** A line that is no assignment runs into the next one: this makes sure that there is a next one. */
const LAST = '__HOLDFAST_LAST_LINE__'

/** `NAME=value` lines, as dotenv reads them; or the first line that is none. */
export function parseVariables(written: string): Variables {
  const text = written.replace(/^\uFEFF/, '')
  const { [LAST]: last, ...values } = parseEnv(`${text}\n${LAST}=1\n`)
  const wrong = Object.keys(values).find(name => !/^[^\s=]+$/.test(name))
  if (wrong !== undefined) return { line: lineOf(text, text.indexOf(wrong.split('\n')[0] ?? '')) }
  // A line without a name ends the list for it, without a word.
  if (last === undefined) return { line: lineOf(text, /^\s*=/m.exec(text)?.index ?? 0) }
  return { values: values as Readonly<Record<string, string>> }
}

function lineOf(text: string, index: number): number {
  return text.slice(0, Math.max(0, index)).split('\n').length
}
