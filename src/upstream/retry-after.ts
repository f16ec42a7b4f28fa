import { LIMITS } from '../model/index.js'

/** The three forms of a date that HTTP has (RFC 9110, 5.6.7). Anything else that Date.parse takes is a guess. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

type Headers = Readonly<Record<string, string | undefined>>

/**
 * Retry-After in seconds or as a date (RFC 9110, 10.2.3) in milliseconds from now, clamped: a server can neither be
 * hammered nor shut out for hours by it. Undefined for nonsense, negative numbers included. A date counts from the
 * answer's own Date: two machines need not agree on what time it is.
 */
export function retryAfterMs(headers: Headers | undefined, wallTime: number): number | undefined {
  const text = headers?.['retry-after']?.trim() ?? ''
  if (/^\d+$/.test(text)) return clamp(Number(text) * 1_000)
  const at = dateIn(text)
  return at === undefined ? undefined : clamp(at - (dateIn(headers?.['date']?.trim() ?? '') ?? wallTime))
}

function dateIn(text: string): number | undefined {
  if (!HTTP_DATE.test(text)) return undefined
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isFinite(at) ? at : undefined
}

function clamp(ms: number): number {
  return Math.min(Math.max(ms, LIMITS.retryAfterMinMs), LIMITS.retryAfterMaxMs)
}
