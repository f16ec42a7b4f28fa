import { LIMITS } from '../model/index.js'

/** The three forms of a date that HTTP has (RFC 9110, 5.6.7). Anything else that Date.parse takes is a guess. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

/**
 * Retry-After in seconds or as a date (RFC 9110, 10.2.3) in milliseconds from now, clamped: a server can neither be
 * hammered nor shut out for hours by it. Undefined for nonsense, negative numbers included.
 */
export function retryAfterMs(text: string | undefined, wallTime: number): number | undefined {
  const trimmed = text?.trim() ?? ''
  if (/^\d+$/.test(trimmed)) return clamp(Number(trimmed) * 1_000)
  if (!HTTP_DATE.test(trimmed)) return undefined
  const at = Date.parse(trimmed.endsWith('GMT') ? trimmed : `${trimmed} GMT`)
  return Number.isFinite(at) ? clamp(at - wallTime) : undefined
}

function clamp(ms: number): number {
  return Math.min(Math.max(ms, LIMITS.retryAfterMinMs), LIMITS.retryAfterMaxMs)
}
