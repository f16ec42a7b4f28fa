import type { Bytes } from '../model/index.js'
import { notificationMessage } from '../wire/index.js'

/**
 * A channel that stands after this long, or not at the first try, may have come later than the lists that were fetched
 * meanwhile.
 */
export const PROMPT_MS = 1_000

/** What a server might have said while nobody could hear it. */
export const ALL_LISTS_CHANGED: readonly Bytes[] = ['tools', 'prompts', 'resources'].map(kind =>
  notificationMessage(`notifications/${kind}/list_changed`, null),
)
