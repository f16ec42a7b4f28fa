import type { Bytes } from '../../model/index.js'
import { json, notificationMessage, requestMessage } from '../../wire/index.js'
import type { EraCodec } from './era.js'
import { paramsForHop } from './meta.js'

/** 2024-11-05 to 2025-11-25. Of our own, a request carries only a progress token: its id. */
export const legacyCodec: EraCodec = {
  era: 'legacy',
  encode: (id, request) => {
    const added: [string, Bytes][] = request.context?.onProgress
      ? [['progressToken', Buffer.from(String(id))]]
      : []
    const params = paramsForHop(request.params, request.replace, added)
    return { id, bytes: requestMessage(id, request.method, params) }
  },
  cancel: (id, reason) => notificationMessage('notifications/cancelled', json({ requestId: id, reason })),
}
