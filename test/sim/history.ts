/** What is asked of a server, as far as the promises depend on it. */
export type Retry = 'free' | 'never'

/** One thing that happened, as seen from outside the gateway: by its clients, by its servers, by the machine. */
export type Fact =
  | {
      readonly kind: 'sent'
      readonly client: string
      readonly id: string
      readonly nonce: string
      readonly method: string
      /** The server that owns what is asked for; null for lists, pings, unknown names. */
      readonly upstream: string | null
      readonly tool: string | null
      readonly retry: Retry
      /** Virtual ms by which there must be an answer. */
      readonly deadline: number
    }
  | { readonly kind: 'answer'; readonly client: string; readonly id: string; readonly answer: Answer }
  | { readonly kind: 'progress'; readonly client: string; readonly token: string; readonly nonce: string }
  /** A question of a server in the middle of a call, and what the client does with it. */
  | { readonly kind: 'asked'; readonly client: string; readonly reply: 'accepts' | 'declines' | 'ignores' }
  | { readonly kind: 'cancelled'; readonly client: string; readonly id: string }
  | { readonly kind: 'left'; readonly client: string }
  /** A message that a client can make nothing of. */
  | { readonly kind: 'odd'; readonly client: string; readonly what: string }
  /** A tool call reached its effect at the server. */
  | { readonly kind: 'effect'; readonly upstream: string; readonly nonce: string }
  /** The first byte of a call was handed to a pipe or a connection. Before that it can have reached nobody. */
  | { readonly kind: 'handed'; readonly upstream: string; readonly nonce: string }
  /** A call reached its server. */
  | { readonly kind: 'called'; readonly upstream: string; readonly nonce: string }
  /** A child ended with whatever it was doing. */
  | { readonly kind: 'died'; readonly upstream: string }
  /** The gateway got the answer to a call in which the server asks to be left alone. */
  | { readonly kind: 'rest'; readonly upstream: string; readonly until: number; readonly asDate: boolean }
  | { readonly kind: 'fault'; readonly upstream: string; readonly what: string }
  | {
      readonly kind: 'state'
      readonly upstream: string
      readonly state: string
      readonly reason: string | null
    }
  /** The wall clock was set. */
  | { readonly kind: 'jumped'; readonly ms: number }
  | { readonly kind: 'warning'; readonly upstream: string; readonly what: string }
  /** A promise that was looked at while the run went on, and is broken. */
  | { readonly kind: 'broken'; readonly promise: string; readonly what: string }
  | { readonly kind: 'phase'; readonly phase: 'lifted' | 'closing' | 'closed' }

export type Recorded = { readonly at: number } & Fact
export type History = readonly Recorded[]

/** An answer in the words of the promises. */
export interface Answer {
  /**
   * - `served`: the server's own answer.
   * - `not-run`: the caller is told that it did not run, so it may safely repeat it.
   * - `may-have-run`: timeouts and unknown outcomes.
   * - `refused`: an error about the request itself.
   */
  readonly said: 'served' | 'not-run' | 'may-have-run' | 'refused'
  /** The nonce in a server's answer; null when there is none. */
  readonly nonce: string | null
  /** The server that says it answered. */
  readonly upstream: string | null
  /** The kind of the failure, where the gateway itself tells one. */
  readonly failure: string | null
  readonly retryAfterMs: number | null
  /** For people. */
  readonly words: string
}
