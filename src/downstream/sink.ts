import type { Bytes } from '../model/index.js'

/** Where the answer to one request goes. */
export interface AnswerSink {
  /**
   * A message that belongs to the request and comes before its answer.
   * @param droppable it may be left out when the client reads too slowly
   * @returns false when this client cannot be sent anything before the answer
   */
  interim(message: Bytes, droppable: boolean): boolean
  /** The answer; called at most once. */
  final(message: Bytes, status?: number): void
}
