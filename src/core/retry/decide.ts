import type { Phase } from '../../model/index.js'
import type { Safety } from './safety.js'

/** What could make a rejected request acceptable. */
export type Cure = 'none' | 'new-session' | 'later'

export interface Failed {
  readonly phase: Phase
  readonly safety: Safety
  readonly cure: Cure
  /** A retry could be of use at all: not a missing program, not a refused credential, not a full queue. */
  readonly transient: boolean
  /** Tries so far, this one included. */
  readonly attempts: number
  /** Times that a rejected request was cured before. */
  readonly cures: number
  /** Times that an unknown outcome was repeated before. */
  readonly repeats: number
  /** Something of this attempt already reached the caller. */
  readonly streamed: boolean
  /** What the server asked for, clamped. */
  readonly retryAfterMs: number | null
  /** Until the caller's deadline. */
  readonly leftMs: number
}

export type Decision = { readonly kind: 'give-up' } | { readonly kind: 'retry'; readonly afterMs: number }

const MAX_ATTEMPTS = 3
const PAUSE_MS = 100
const GIVE_UP: Decision = { kind: 'give-up' }

/**
 * The matrix: never sent -> again; rejected -> cured once; unknown -> only what may run twice, once.
 * @param random uniform in [0, 1), for the jitter of the pause
 */
export function decideRetry(failed: Failed, random: number): Decision {
  if (!failed.transient || failed.attempts >= MAX_ATTEMPTS) return GIVE_UP
  if (!isAllowed(failed)) return GIVE_UP
  const afterMs = failed.retryAfterMs ?? pauseBefore(failed, random)
  return afterMs < failed.leftMs ? { kind: 'retry', afterMs } : GIVE_UP
}

function isAllowed({ phase, safety, cure, cures, repeats, streamed }: Failed): boolean {
  switch (phase) {
    case 'never-sent':
      return true
    case 'rejected':
      return cure !== 'none' && cures === 0
    case 'unknown':
      return safety !== 'unsafe' && !streamed && repeats === 0
  }
}

function pauseBefore({ phase, cure, attempts }: Failed, random: number): number {
  if (phase === 'rejected' && cure === 'new-session') return 0
  return attempts * PAUSE_MS * (0.5 + random)
}
