import type { Bytes } from '../model/index.js'

/** Where the answer to one request goes. */
export interface AnswerSink {
  /**
   * A message that belongs to the request and comes before its answer.
   * @param slot what it tells about: when the client reads too slowly, a later message of the same slot takes its place,
   * or it is left out. Null = it may not be lost.
   * @returns false when this client cannot be sent it
   */
  interim(message: Bytes, slot: string | null): boolean
  /** The answer; called at most once. */
  final(message: Bytes, status?: number): void
}
