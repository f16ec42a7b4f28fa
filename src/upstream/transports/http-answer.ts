import { type Bytes, LIMITS } from '../../model/index.js'
import type { HttpHandler } from '../../runtime/ports.js'
import { looksLikeBatch, splitBatch, WireError } from '../../wire/index.js'
import { AnswerStream, type StreamOwner } from './answer-stream.js'
import { collectBody, IGNORED_BODY } from './collect-body.js'
import { notMcp, packed, statusFault, tooLarge, transportFault } from './http-faults.js'

export interface AnswerReader extends StreamOwner {
  /** False for notifications and answers of ours: a 2xx without a body is right. */
  readonly expectsAnswer: boolean
  /** The request carried a session id. */
  readonly inSession: boolean
  sessionId(id: string): void
  /** True when the redirect is followed by another exchange. */
  redirect(location: string): boolean
}

export const MAX_ERROR_BODY = 64 * 1024

/** Turns the answer to one POST into messages and one end. */
export function readAnswer(reader: AnswerReader): HttpHandler {
  let body: HttpHandler | null = null
  return {
    headers: (status, headers) => {
      body = bodyFor(reader, status, headers)
    },
    data: chunk => body?.data(chunk),
    end: () => body?.end(),
    fault: fault => (body ? body.fault(fault) : reader.ended(transportFault(fault))),
  }
}

type Headers = Readonly<Record<string, string>>

function bodyFor(reader: AnswerReader, status: number, headers: Headers): HttpHandler {
  const { location } = headers
  if ((status === 307 || status === 308) && location && reader.redirect(location)) return IGNORED_BODY
  if (status < 200 || status >= 300) return refusal(reader, status, headers)
  const session = headers['mcp-session-id']
  if (session) reader.sessionId(session)
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') return unreadable(reader, encoding)
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type === 'text/event-stream') return new AnswerStream(reader)
  return collectBody(LIMITS.upstreamMessageBytes, ({ bytes, whole, fault }) => {
    if (fault) return reader.ended(transportFault(fault))
    if (whole) return finishBody(reader, status, type, bytes)
    reader.stop()
    reader.ended(tooLarge(reader.what))
  })
}

/** Not one byte of it is looked at. */
function unreadable(reader: AnswerReader, encoding: string): HttpHandler {
  reader.stop()
  reader.ended(packed(reader.what, encoding))
  return IGNORED_BODY
}

/** The status decides, however much of the body there is. */
function refusal(reader: AnswerReader, status: number, headers: Headers): HttpHandler {
  return collectBody(MAX_ERROR_BODY, ({ bytes, whole }) => {
    if (!whole) reader.stop()
    reader.ended(statusFault(status, headers, bytes, reader.what, reader.inSession))
  })
}

function finishBody(reader: AnswerReader, status: number, type: string, bytes: Bytes): void {
  if (bytes.length === 0) {
    if (!reader.expectsAnswer) return reader.ended(null)
    const message = `${reader.what} answered ${status} without an answer`
    return reader.ended({ phase: 'unknown', reason: 'not-mcp', message, status })
  }
  if (type !== 'application/json') {
    return reader.ended(reader.expectsAnswer ? notMcp(reader.what, type, bytes) : null)
  }
  try {
    for (const message of looksLikeBatch(bytes) ? splitBatch(bytes, LIMITS.batch) : [bytes])
      reader.message(message)
  } catch (thrown) {
    if (!(thrown instanceof WireError)) throw thrown
    return reader.ended(notMcp(reader.what, type, bytes))
  }
  reader.ended(null)
}
