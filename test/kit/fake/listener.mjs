// A loopback listener that can die and come back on the same port.
import { createServer } from 'node:http'

export class LoopbackListener {
  #server = null
  #port = 0
  #handle
  #onConnection

  constructor(handle, onConnection) {
    this.#handle = handle
    this.#onConnection = onConnection
  }

  get port() {
    return this.#port
  }

  get listening() {
    return this.#server !== null
  }

  async open() {
    if (this.#server) return
    const server = createServer({ keepAliveTimeout: 60_000 }, this.#handle)
    server.on('connection', this.#onConnection)
    await new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#server = server
    this.#port = server.address().port
  }

  /** Refuses new connections and drops all sockets. */
  close() {
    const server = this.#server
    this.#server = null
    if (!server) return Promise.resolve()
    return new Promise(resolve => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }
}

/** Reads a request body as text. */
export async function readBody(req) {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
