import type { Bytes, Era } from '../../model/index.js'
import type { UpstreamRequest } from '../../runtime/ports.js'
import type { OutgoingMessage } from '../transport.js'

/** How one era writes requests and takes them back. */
export interface EraCodec {
  readonly era: Era
  encode(id: number, request: UpstreamRequest): OutgoingMessage
  /** The message that cancels request `id`; null = drop its stream instead. */
  cancel(id: number, reason: string): Bytes | null
}
