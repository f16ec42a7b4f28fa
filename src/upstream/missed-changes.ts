import type { Bytes } from '../model/index.js'
import { notificationMessage } from '../wire/index.js'

/**
 * A channel that stands after this long, or not at the first try, may have come later than the lists that were fetched
 * meanwhile.
 */
export const PROMPT_MS = 1_000

/** Whichever resources somebody follows, they may have changed: an update that names none. */
export const RESOURCES_MAY_HAVE_CHANGED: Bytes = notificationMessage('notifications/resources/updated', null)

/** What a server might have said about its lists while nobody could hear it. */
export const ALL_LISTS_CHANGED: readonly Bytes[] = ['tools', 'prompts', 'resources'].map(kind =>
  notificationMessage(`notifications/${kind}/list_changed`, null),
)

/** What a server might have said at all. */
export const MISSED_CHANGES: readonly Bytes[] = [...ALL_LISTS_CHANGED, RESOURCES_MAY_HAVE_CHANGED]
