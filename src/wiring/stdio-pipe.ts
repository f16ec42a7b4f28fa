import type { PassThrough, Readable, Writable } from 'node:stream'
import type { StdioFace } from '../downstream/index.js'

/** A client on stdin and stdout. */
export interface Pipe {
  readonly stdio: StdioFace
  readonly output: Writable
}

/** Resolves when the face is closed and all that it wrote has left. */
export async function emptied({ stdio, output }: Pipe): Promise<void> {
  await stdio.closed
  if (output.destroyed || output.writableEnded) return
  await new Promise<void>(resolve => output.write('', () => resolve()))
}

/**
 * Passes the client's bytes on, but not the end of them: a client that closes its end may still read, and what runs for
 * it may finish.
 */
export function endOf(input: Readable, held: PassThrough): Promise<void> {
  input.pipe(held, { end: false })
  return new Promise(resolve => {
    for (const event of ['end', 'close', 'error']) input.on(event, () => resolve())
  })
}
