import type { IncomingMessage } from 'node:http'

export interface BodyHandlers {
  done(body: Buffer): void
  tooLarge(): void
  /** The bodies of all clients together are too much. */
  tooMany(): void
}

/** Past so many times the bound, a client that goes on sending is cut off. */
const PATIENCE = 16

/**
 * Collects request bodies within a bound for each and one for all. A body in one chunk, the usual case, is not copied and
 * not counted. What is too large is thrown away but read to its end before it is refused: a client that is still sending
 * would not see the refusal.
 */
export class BodyReader {
  /** Bytes of bodies whose end is still to come. */
  #held = 0

  constructor(
    private readonly maxBytes: number,
    private readonly maxHeld: number,
  ) {}

  get held(): number {
    return this.#held
  }

  read(req: IncomingMessage, handlers: BodyHandlers): void {
    let chunks: Buffer[] = []
    let length = 0
    let counted = 0
    let refused = false
    const letGo = () => {
      this.#held -= counted
      counted = 0
    }
    req.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > this.maxBytes * PATIENCE) return void req.destroy()
      if (refused || length > this.maxBytes) {
        chunks = []
        return letGo()
      }
      if (chunks.push(chunk) === 1) {
        if (Number(req.headers['content-length']) === length) return
        req.on('close', letGo)
      }
      this.#held += length - counted
      counted = length
      if (this.#held > this.maxHeld) {
        refused = true
        chunks = []
        letGo()
      }
    })
    req.on('end', () => {
      letGo()
      if (refused) handlers.tooMany()
      else if (length > this.maxBytes) handlers.tooLarge()
      else handlers.done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length))
    })
  }
}
