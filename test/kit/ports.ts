import { spawn } from 'node:child_process'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A loopback port on which nobody listens, and that the system gives to nobody who asks for any port. */
export async function closedPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const server = createServer()
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await close(server, [])
    return port
  }
}

export interface BlackHole {
  readonly port: number
  readonly url: string
  /** Connections accepted so far. */
  readonly connections: number
  close(): Promise<void>
}

/** Accepts connections and reads, but never answers. */
export async function blackHole(): Promise<BlackHole> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer(socket => {
    connections++
    track(sockets, socket)
    socket.resume()
  })
  const port = await listen(server)
  return {
    port,
    url: `http://127.0.0.1:${port}/mcp`,
    get connections() {
      return connections
    },
    close: () => close(server, sockets),
  }
}

/** A port whose queue of connections is full: its owner is stopped, so that further SYNs get no answer. */
export async function fullPort(): Promise<{ readonly port: number; close(): void }> {
  const program = `const s = require('node:net').createServer(); s.listen({ port: 0, host: '127.0.0.1', backlog: 1 },
    () => console.log(s.address().port)); setTimeout(() => process.exit(), 60000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise<number>(resolve => child.stdout.once('data', text => resolve(Number(text))))
  child.kill('SIGSTOP')
  const filling = Array.from({ length: 6 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
  await new Promise(resolve => setTimeout(resolve, 200))
  return {
    port,
    close: () => {
      for (const socket of filling) socket.destroy()
      child.kill('SIGKILL')
    },
  }
}

/** Runs `use` with the entry of a server that accepts connections and never answers. */
export async function withHung<T>(
  use: (entry: { readonly type: 'http'; readonly url: string }) => Promise<T>,
): Promise<T> {
  const hole = await blackHole()
  try {
    return await use({ type: 'http', url: hole.url })
  } finally {
    await hole.close()
  }
}

export interface Relay {
  readonly port: number
  readonly url: string
  /** Drops all connections; new ones are still accepted. */
  drop(): void
  /** Passes nothing on in either direction until `resume`; connections stay open. */
  pause(): void
  resume(): void
  /** Refuses new connections and drops all. Idempotent. */
  close(): Promise<void>
}

/** A TCP relay to a loopback port, to break a connection between two healthy ends. */
export async function relay(target: number): Promise<Relay> {
  const sockets = new Set<Socket>()
  let paused = false
  const server = createServer(near => {
    const far = connect(target, '127.0.0.1')
    track(sockets, near)
    track(sockets, far)
    near.on('data', chunk => far.write(chunk))
    far.on('data', chunk => near.write(chunk))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    if (paused) for (const socket of [near, far]) socket.pause()
  })
  const port = await listen(server)
  return {
    port,
    url: `http://127.0.0.1:${port}/mcp`,
    drop: () => {
      for (const socket of sockets) socket.destroy()
    },
    pause: () => {
      paused = true
      for (const socket of sockets) socket.pause()
    },
    resume: () => {
      paused = false
      for (const socket of sockets) socket.resume()
    },
    close: () => close(server, sockets),
  }
}

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

function close(server: Server, sockets: Iterable<Socket>): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    for (const socket of sockets) socket.destroy()
  })
}
