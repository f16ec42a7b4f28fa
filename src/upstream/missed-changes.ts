import type { Bytes } from '../model/index.js'
import { notificationMessage } from '../wire/index.js'

/** Whichever resources somebody follows, they may have changed: an update that names none. */
export const RESOURCES_MAY_HAVE_CHANGED: Bytes = notificationMessage('notifications/resources/updated', null)

const LISTS_MAY_HAVE_CHANGED = ['tools', 'prompts', 'resources'].map(kind =>
  notificationMessage(`notifications/${kind}/list_changed`, null),
)

/** What a server might have said while nobody could hear it. */
export const MISSED_LISTS: readonly Bytes[] = LISTS_MAY_HAVE_CHANGED
export const MISSED_CHANGES: readonly Bytes[] = [...LISTS_MAY_HAVE_CHANGED, RESOURCES_MAY_HAVE_CHANGED]
