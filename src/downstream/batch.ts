import { type Bytes, LIMITS } from '../model/index.js'
import { CLIENT_SCAN, type Envelope, scanEnvelope, splitBatch, WireError } from '../wire/index.js'
import { BATCH_VERSION, classify } from './classify.js'
import type { LegacySession } from './legacy-session.js'

/**
 * The messages of a batch.
 * @throws WireError outside sessions of the one version that has batches, and for a batch with a stateless request in it
 */
export function readBatch(session: LegacySession | null | undefined, bytes: Bytes): Envelope[] {
  if (session?.version !== BATCH_VERSION) {
    throw new WireError(-32600, 'Batches are not part of this protocol version.')
  }
  return splitBatch(bytes, LIMITS.batch).map(part => {
    const envelope = scanEnvelope(part, CLIENT_SCAN)
    if (classify(envelope).kind === 'none') return envelope
    throw new WireError(-32600, 'A stateless request must be sent alone, not in a batch.')
  })
}
