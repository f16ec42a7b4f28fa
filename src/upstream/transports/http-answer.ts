import { type Bytes, LIMITS } from '../../model/index.js'
import type { HttpHandler } from '../../runtime/ports.js'
import { looksLikeBatch, SseParser, splitBatch, WireError } from '../../wire/index.js'
import type { TransportFault } from '../transport.js'
import { notMcp, statusFault, transportFault } from './http-faults.js'

export interface AnswerReader {
  /** False for notifications and answers of ours: a 2xx without a body is right. */
  readonly expectsAnswer: boolean
  /** "POST /mcp" */
  readonly what: string
  hasSession(): boolean
  message(bytes: Bytes): void
  sessionId(id: string): void
  /** True when the redirect is followed by another exchange. */
  redirect(location: string): boolean
  ended(fault: TransportFault | null): void
}

const MAX_ERROR_BODY = 64 * 1024

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

function bodyFor(
  reader: AnswerReader,
  status: number,
  headers: Readonly<Record<string, string>>,
): HttpHandler {
  const { location } = headers
  if ((status === 307 || status === 308) && location && reader.redirect(location)) return SILENT
  const hadSession = reader.hasSession()
  if (status < 200 || status >= 300) {
    return collect(MAX_ERROR_BODY, reader, bytes =>
      reader.ended(statusFault(status, headers, bytes, reader.what, hadSession)),
    )
  }
  const session = headers['mcp-session-id']
  if (session) reader.sessionId(session)
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type === 'text/event-stream') return readStream(reader)
  return collect(LIMITS.upstreamMessageBytes, reader, bytes => finishBody(reader, status, type, bytes))
}

const SILENT: HttpHandler = {
  headers: () => undefined,
  data: () => undefined,
  end: () => undefined,
  fault: () => undefined,
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

/** Collects a body up to a bound; one chunk, the usual case, is not copied. */
function collect(max: number, reader: AnswerReader, done: (bytes: Bytes) => void): HttpHandler {
  const chunks: Bytes[] = []
  let length = 0
  return {
    headers: () => undefined,
    data: chunk => {
      length += chunk.length
      if (length <= max) chunks.push(chunk)
    },
    end: () => {
      if (length > max && max === LIMITS.upstreamMessageBytes)
        return reader.ended(tooLarge(reader.what, length))
      done(chunks.length === 1 ? (chunks[0] as Bytes) : Buffer.concat(chunks))
    },
    fault: fault => reader.ended(transportFault(fault)),
  }
}

function tooLarge(what: string, bytes: number): TransportFault {
  const message = `${what} answered ${bytes} bytes; ${LIMITS.upstreamMessageBytes} is the most`
  return { phase: 'unknown', reason: 'too-large', message }
}

function readStream(reader: AnswerReader): HttpHandler {
  let oversize: number | null = null
  const parser = new SseParser(LIMITS.upstreamMessageBytes, {
    event: event => {
      if (event.event === 'message' && event.data.length > 0) reader.message(event.data)
    },
    retry: () => undefined,
    overflow: total => {
      oversize = total
    },
  })
  return {
    headers: () => undefined,
    data: chunk => parser.push(chunk),
    end: () => {
      parser.end()
      reader.ended(oversize === null ? null : tooLarge(reader.what, oversize))
    },
    fault: fault => reader.ended(transportFault(fault)),
  }
}
