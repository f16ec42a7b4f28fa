import { setTimeout as delay } from 'node:timers/promises'

export interface Failure {
  readonly kind: string
  readonly upstream?: string
  readonly reason: string
  readonly retryAfterMs?: number
}

/** The one final message to a request. */
export interface Answer {
  readonly text: string
  /** Milliseconds from sending. */
  readonly ms: number
  readonly result: Readonly<Record<string, unknown>> | null
  readonly error: {
    readonly code: number
    readonly message: string
    readonly data?: Readonly<Record<string, unknown>>
  } | null
  /** What the gateway itself reports, as a result or as an error. */
  readonly failure: Failure | null
  /** Text of the first content block. */
  readonly said: string
}

/** One request, from the moment it was sent. */
export interface Sent {
  readonly client: string
  readonly method: string
  readonly tool: string | null
  /** In the arguments of every tool call, and nowhere else. */
  readonly nonce: string | null
  /** True when the tool says its arguments back. */
  readonly echoes: boolean
  readonly sentAt: number
  /** Until when an answer is owed. */
  readonly deadlineMs: number
  /** Raw messages before the answer. */
  readonly before: readonly string[]
  readonly answers: readonly Answer[]
  readonly cancelled: boolean
  /** Resolves with the first answer; rejects when the exchange broke without one. */
  readonly answer: Promise<Answer>
  cancel(): void
}

/** Everything that was asked in one row, by whom, and what came back. */
export class Ledger {
  readonly sent: Sent[] = []
  /** Raw messages that came to a client outside of any answer. */
  readonly unasked: { readonly client: string; readonly text: string }[] = []
  #nonces = 0

  nonce(client: string): string {
    return `nonce-${client}-${++this.#nonces}-`
  }

  /** Calls of tools of that server, by the prefix of their names. */
  callsTo(upstream: string): readonly Sent[] {
    return this.sent.filter(({ tool }) => tool?.startsWith(`${upstream}__`))
  }

  /** Waits until every request has its answer, or is overdue. */
  async settled(): Promise<void> {
    for (;;) {
      const now = performance.now()
      const open = this.sent.filter(
        ({ answers, cancelled, sentAt, deadlineMs }) =>
          answers.length === 0 && !cancelled && now < sentAt + deadlineMs + GRACE_MS,
      )
      if (open.length === 0) return
      await delay(10)
    }
  }
}

/** I1 allows so much beyond the deadline. */
export const GRACE_MS = 1_000

export function readAnswer(text: string, ms: number): Answer {
  const message = JSON.parse(text) as {
    readonly result?: Readonly<Record<string, unknown>>
    readonly error?: Answer['error']
  }
  const { result = null, error = null } = message
  const content = result?.['content'] as readonly { readonly text?: string }[] | undefined
  const meta = result?.['_meta'] as Readonly<Record<string, unknown>> | undefined
  const failure = (meta?.['dev.holdfast/failure'] ?? ownData(error)) as Failure | null
  return { text, ms, result, error, failure, said: content?.[0]?.text ?? error?.message ?? '' }
}

/** An error of a server that merely passed through has no record of ours. */
function ownData(error: Answer['error']): unknown {
  return error?.data && 'kind' in error.data ? error.data : null
}
