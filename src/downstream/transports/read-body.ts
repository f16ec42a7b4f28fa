import type { IncomingMessage } from 'node:http'

export interface BodyHandlers {
  done(body: Buffer): void
  tooLarge(): void
}

/** Past so many times the bound, a client that goes on sending is cut off. */
const PATIENCE = 16

/**
 * Collects a request body within a bound. A body in one chunk, the usual case, is not copied. What is too large is
 * thrown away but read to its end before it is refused: a client that is still sending would not see the refusal.
 */
export function readBody(req: IncomingMessage, maxBytes: number, handlers: BodyHandlers): void {
  const chunks: Buffer[] = []
  let length = 0
  req.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length <= maxBytes) chunks.push(chunk)
    else if (length > maxBytes * PATIENCE) req.destroy()
    else chunks.length = 0
  })
  req.on('end', () => {
    if (length > maxBytes) handlers.tooLarge()
    else handlers.done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length))
  })
}
