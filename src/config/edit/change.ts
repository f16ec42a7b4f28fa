import type { Path } from '../faults.js'

/** One thing to change in a config. */
export interface Change {
  readonly path: Path
  /** Undefined = remove what stands there. */
  readonly value: unknown
}

/**
 * Writes one change into a text and leaves the rest as it is. Null where this writer does not know how; what it
 * returns is checked afterwards, so it may be wrong about a text that is written in a rare way.
 */
export type Writer = (text: string, change: Change) => string | null

/** Where the value at a path stands in the text; undefined = nowhere, or not known. */
export type Spans = (path: Path) => readonly [start: number, end: number] | undefined

/** `value` inside objects with these keys. */
export function nest(keys: Path, value: unknown): unknown {
  return keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value)
}

export function splice(text: string, start: number, end: number, by: string): string {
  return text.slice(0, start) + by + text.slice(end)
}

export function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1
}

/** The offset behind the end of the line. */
export function nextLine(text: string, offset: number): number {
  const end = text.indexOf('\n', offset)
  return end < 0 ? text.length : end + 1
}
