import type { Bytes } from '../../model/index.js'

/** How servers say that they do not know the session of a request, as far as the protocol does not say it for them. */
const ABSENT = /\b(?:no valid session|missing session)\b/
const GONE =
  /\bsession\b[^.\n{}]{0,80}?\b(?:not found|not valid|unknown|invalid|expired|terminated|does not exist)\b|\b(?:unknown|invalid|expired) session\b/

interface Row {
  readonly status: number
  /** Null: the status alone says it, as the protocol has it. */
  readonly words: readonly RegExp[] | null
}

/**
 * A request that carried a session id and got one of these found no session (2025-11-25, basic/transports: 404). The
 * others are what servers of the common SDKs, and proxies in front of several of them, say instead. Whatever is not
 * in the table is an ordinary error: a wrong guess would end a session that works.
 */
const ROWS: readonly Row[] = [
  { status: 404, words: null },
  { status: 400, words: [ABSENT, GONE] },
  { status: 401, words: [GONE] },
  { status: 410, words: [GONE] },
  { status: 503, words: [GONE] },
]

const READ_BYTES = 2_048

export function sessionIsLost(status: number, body: Bytes): boolean {
  const row = ROWS.find(one => one.status === status)
  if (!row) return false
  return row.words === null || says(row.words, body)
}

/** A first GET that finds no session says so in words; a plain 404 there only means that nobody serves GET. */
export function namesLostSession(body: Bytes): boolean {
  return says([ABSENT, GONE], body)
}

/** The JSON-RPC errors that a lost session is under a status of success. */
export function isSessionError(code: unknown, message: unknown): boolean {
  if (code !== -32600 || typeof message !== 'string') return false
  return /^(?:not found: |bad request: )?session (?:has been |is |was )?(?:terminated|not found|expired)\.?$/i.test(
    message,
  )
}

function says(words: readonly RegExp[], body: Bytes): boolean {
  const text = Buffer.from(body.subarray(0, READ_BYTES)).toString('utf8').toLowerCase()
  return words.some(one => one.test(text))
}
