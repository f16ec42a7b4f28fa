import type { IncomingMessage } from 'node:http'

export interface BodyHandlers {
  done(body: Buffer): void
  /** Called once; what still comes is thrown away. */
  tooLarge(): void
}

/** Collects a request body within a bound. A body in one chunk, the usual case, is not copied. */
export function readBody(req: IncomingMessage, maxBytes: number, handlers: BodyHandlers): void {
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) {
    req.resume()
    handlers.tooLarge()
    return
  }
  const chunks: Buffer[] = []
  let length = 0
  let refused = false
  req.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length <= maxBytes) chunks.push(chunk)
    else if (!refused) {
      refused = true
      chunks.length = 0
      handlers.tooLarge()
    }
  })
  req.on('end', () => {
    if (!refused) handlers.done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length))
  })
}
