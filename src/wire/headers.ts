/** Visible ASCII with spaces and tabs inside, not at the ends (Streamable HTTP 2026-07-28, "Header encoding"). */
const SAFE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/
const SENTINEL = /^=\?base64\?(.*)\?=$/s
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** The value as it is where that is safe, else `=?base64?…?=`; also for values that look like that form. */
export function encodeHeaderValue(value: string): string {
  if (value === '' || (SAFE.test(value) && !SENTINEL.test(value))) return value
  return `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`
}

/** The decoded value; undefined when it has the encoded form but cannot be decoded. The markers are case-sensitive. */
export function decodeHeaderValue(value: string): string | undefined {
  const match = SENTINEL.exec(value)
  if (!match) return value
  const text = match[1] ?? ''
  if (!BASE64.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64')
  const decoded = bytes.toString('utf8')
  return Buffer.from(decoded, 'utf8').equals(bytes) ? decoded : undefined
}
