import type { Outcome } from '../../src/model/index.js'
import type { Answer } from './history.js'
import type { Message } from './models/app.js'

/** Of these a caller may believe that nothing ran. */
const NOT_RUN = new Set(['unavailable', 'overloaded', 'auth_required', 'misconfigured', 'denied'])
const MAY_HAVE_RUN = new Set(['timeout', 'outcome_unknown'])

interface Failure {
  readonly kind?: unknown
  readonly reason?: unknown
  readonly upstream?: unknown
  readonly retryAfterMs?: unknown
}

/** What a client reads out of a response. */
export function readAnswer({ result, error }: Message): Answer {
  if (error !== undefined) return readError(error as { code?: number; message?: string; data?: Failure })
  const failure = (result as { _meta?: Record<string, Failure> } | null)?._meta?.['dev.holdfast/failure']
  return failure ? fromFailure(failure) : served(result)
}

/** The same for who calls the core itself. */
export function readOutcome(outcome: Outcome): Answer {
  if (outcome.kind === 'cancelled')
    return {
      said: 'refused',
      nonce: null,
      upstream: null,
      failure: null,
      retryAfterMs: null,
      words: 'cancelled',
    }
  if (outcome.kind === 'answered') {
    const { reply } = outcome
    const bytes = 'result' in reply ? reply.result : reply.error
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    return 'result' in reply ? served(value) : readError(value as { code?: number })
  }
  const { kind, error } = outcome
  const read = fromFailure(error.toFailure() as Failure)
  const words = `${kind}: ${error.message}`
  // What the faces would say of it counts too: a caller believes the weaker of the two.
  const said = kind === 'unknown' ? read.said : error.kind === 'not_found' ? 'refused' : 'not-run'
  return { ...read, said, words }
}

function served(result: unknown): Answer {
  const text = textIn(result)
  const [nonce, upstream] = text?.split('@') ?? []
  return {
    said: 'served',
    nonce: nonce ?? null,
    upstream: upstream ?? null,
    failure: null,
    retryAfterMs: null,
    words: text ?? 'a result',
  }
}

function textIn(result: unknown): string | null {
  const { content, contents, messages } = (result ?? {}) as {
    content?: { text?: string }[]
    contents?: { text?: string }[]
    messages?: { content?: { text?: string } }[]
  }
  return content?.[0]?.text ?? contents?.[0]?.text ?? messages?.[0]?.content?.text ?? null
}

function readError({ code, message, data }: { code?: number; message?: string; data?: Failure }): Answer {
  const read = data?.kind === undefined ? null : fromFailure(data)
  const words = `${code} ${message ?? ''}`
  return read
    ? { ...read, words }
    : { said: 'refused', nonce: null, upstream: null, failure: null, retryAfterMs: null, words }
}

function fromFailure({ kind, reason, upstream, retryAfterMs }: Failure): Answer {
  const said = NOT_RUN.has(String(kind))
    ? 'not-run'
    : MAY_HAVE_RUN.has(String(kind))
      ? 'may-have-run'
      : 'refused'
  return {
    said,
    nonce: null,
    upstream: typeof upstream === 'string' ? upstream : null,
    failure: String(kind),
    retryAfterMs: typeof retryAfterMs === 'number' ? retryAfterMs : null,
    words: `${String(kind)}: ${String(reason)}`,
  }
}
