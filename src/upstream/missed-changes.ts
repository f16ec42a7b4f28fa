import type { Bytes } from '../model/index.js'
import { notificationMessage } from '../wire/index.js'

/** What a server might have said while nobody could hear it. */
export const ALL_LISTS_CHANGED: readonly Bytes[] = ['tools', 'prompts', 'resources'].map(kind =>
  notificationMessage(`notifications/${kind}/list_changed`, null),
)
