import type { Bytes } from '../../model/index.js'
import type { HttpFault, HttpHandler } from '../../runtime/ports.js'
import { Parts } from '../../wire/index.js'

export interface BodyEnd {
  readonly bytes: Bytes
  /** False when the bound was passed: the rest is not read. */
  readonly whole: boolean
  /** Set when the body broke off. */
  readonly fault: HttpFault | null
}

/** Collects a body up to a bound and tells its end once; one chunk, the usual case, is not copied. */
export function collectBody(maxBytes: number, done: (end: BodyEnd) => void): HttpHandler {
  const parts = new Parts()
  let over = false
  const finish = (whole: boolean, fault: HttpFault | null) => {
    if (over) return
    over = true
    const bytes = parts.take()
    done({ bytes: whole ? bytes : bytes.subarray(0, maxBytes), whole, fault })
  }
  return {
    headers: () => undefined,
    data: chunk => {
      if (over) return
      parts.push(chunk)
      if (parts.length > maxBytes) finish(false, null)
    },
    end: () => finish(true, null),
    fault: fault => finish(true, fault),
  }
}

/** Of a body that nobody needs only the end is awaited, so that its connection can be used again. */
export const IGNORED_BODY: HttpHandler = {
  headers: () => undefined,
  data: () => undefined,
  end: () => undefined,
  fault: () => undefined,
}
