import type { Bytes } from '../model/index.js'
import {
  type Envelope,
  member,
  objectAt,
  scanEnvelope,
  slice,
  stringAt,
  UPSTREAM_SCAN,
  WireError,
} from '../wire/index.js'
import type { TransportFault } from './transport.js'

/** Every type that this version and its extensions have. */
const RESULT_TYPES = new Set<unknown>(['complete', 'input_required', 'task'])

/** The raw type of a result that must not be taken for one; an absent type means "complete" (2026-07-28). */
export function unknownResultType(result: Bytes): string | null {
  if (result[0] !== 0x7b) return null
  const found = member(objectAt(result), 'resultType')
  if (!found || RESULT_TYPES.has(stringAt(result, found))) return null
  return Buffer.from(slice(result, found)).toString('utf8').slice(0, 80)
}

/** A JSON-RPC error under an error status is an answer, unless the status says more: when to come back. */
export function mayAnswer({ reason, status, headers }: TransportFault): boolean {
  return reason === 'http-status' && status !== 429 && headers?.['retry-after'] === undefined
}

/** The JSON-RPC error to request `id` in the body of an HTTP error: the server's answer all the same. */
export function answerUnder(body: Bytes, id: number): Bytes | null {
  try {
    const { kind, id: answered, error } = scanEnvelope(body, UPSTREAM_SCAN)
    return kind === 'error' && error && (answered === null || answered === id) ? slice(body, error) : null
  } catch (thrown) {
    if (thrown instanceof WireError) return null
    throw thrown
  }
}

/** An answer that nobody waits for, or not any more, in words. */
export function describeSurprise({ id, bytes, error }: Envelope): string {
  const what = `an answer with an unknown id: ${JSON.stringify(id).slice(0, 80)}`
  return id === null && error ? `${what}, an error: ${excerpt(slice(bytes, error))}` : what
}

export function excerpt(bytes: Bytes): string {
  return JSON.stringify(Buffer.from(bytes.subarray(0, 200)).toString('utf8'))
}
