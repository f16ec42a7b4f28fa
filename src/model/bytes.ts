/** Raw UTF-8 JSON text. Payloads travel as bytes so that numbers, key order and unknown fields survive. */
export type Bytes = Uint8Array

/** `{}`: no params, no capabilities, an empty result. */
export const EMPTY_OBJECT: Bytes = Buffer.from('{}')

/** A half-open byte range `[start, end)` of some buffer that its owner names. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** One member of a scanned JSON object: its decoded key and the range of its value. */
export interface Member extends Span {
  readonly key: string
  /** Where the key's opening quote stands. */
  readonly keyStart: number
}

/** A JSON object that lies somewhere inside `bytes`, with its top-level members found but not parsed. */
export interface ObjectSlice {
  readonly bytes: Bytes
  /** The range of the whole object, braces included. */
  readonly span: Span
  readonly members: readonly Member[]
}
