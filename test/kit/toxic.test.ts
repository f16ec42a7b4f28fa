import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { withFakes } from './fake-mcp.js'
import { rawPost } from './raw-http.js'
import { openToxic, type Toxic } from './toxic.js'
import { PATIENCE_MS } from './until.js'

/** A server that says back what it hears, with what it saw of each connection. */
interface Echo {
  readonly url: string
  readonly sockets: Socket[]
  readonly chunks: number[]
  readonly ends: { readonly at: number; readonly error: string | null }[]
}

let server: Server
let echo: Echo
let proxy: Toxic
const clients: Socket[] = []

beforeEach(async () => {
  const sockets: Socket[] = []
  const chunks: number[] = []
  const ends: { at: number; error: string | null }[] = []
  server = createServer({ allowHalfOpen: true }, socket => {
    sockets.push(socket)
    let error: string | null = null
    socket.on('data', bytes => {
      chunks.push(bytes.length)
      socket.write(bytes)
    })
    socket.on('error', thrown => {
      error = (thrown as NodeJS.ErrnoException).code ?? thrown.message
    })
    socket.on('end', () => {
      ends.push({ at: performance.now(), error: null })
      socket.end()
    })
    socket.on('close', () => error && ends.push({ at: performance.now(), error }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  echo = { url: `http://127.0.0.1:${port}/mcp`, sockets, chunks, ends }
  proxy = await openToxic({ transport: 'http', url: echo.url }, () => 0.75)
})

afterEach(async () => {
  proxy.close()
  for (const socket of [...clients.splice(0), ...echo.sockets]) socket.destroy()
  await new Promise(resolve => server.close(resolve))
})

/** A client that notes what it gets. */
class Client {
  text = ''
  chunks = 0
  ended: number | null = null
  closed: number | null = null
  error: string | null = null

  constructor(readonly socket: Socket) {
    clients.push(socket)
    socket.on('data', bytes => {
      this.text += bytes.toString()
      this.chunks++
    })
    socket.on('end', () => {
      this.ended = performance.now()
    })
    socket.on('error', thrown => {
      this.error = (thrown as NodeJS.ErrnoException).code ?? thrown.message
    })
    socket.on('close', () => {
      this.closed = performance.now()
    })
  }
}

async function dial(): Promise<Client> {
  const client = new Client(connect(proxy.port, '127.0.0.1'))
  await once(client.socket, 'connect')
  await until(() => echo.sockets.length > 0)
  return client
}

async function until(holds: () => unknown, withinMs = PATIENCE_MS): Promise<void> {
  const end = performance.now() + withinMs
  while (!holds()) {
    if (performance.now() > end) throw new Error(`It did not happen in ${withinMs} ms: ${holds}`)
    await delay(5)
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await run()
  return performance.now() - started
}

describe('a toxic proxy', () => {
  test('passes everything on untouched, and counts', async () => {
    const client = await dial()
    client.socket.write('hello')
    await until(() => client.text === 'hello')
    expect(proxy.counts).toEqual({ connections: 1, open: 1, bytes: { up: 5, down: 5 } })
    client.socket.end()
    await until(() => client.closed)
    await until(() => proxy.counts.open === 0)
    expect(client.error).toBe(null)
    expect(echo.ends).toEqual([{ at: expect.any(Number), error: null }])
  })

  test('carries more than its buffers hold, in order', async () => {
    const client = await dial()
    const text = Array.from({ length: 400_000 }, (_, index) => `${index},`).join('')
    client.socket.write(text)
    await until(() => client.text.length === text.length)
    expect(client.text).toBe(text)
  })

  test('gives an entry for a fake, through which the fake answers', async () => {
    await withFakes([{ script: {} }], async fake => {
      if (!fake) throw new Error('no fake')
      const before = await openToxic(fake)
      expect(before.entry).toEqual({ type: 'http', url: before.url })
      expect(new URL(before.url).pathname).toBe('/mcp')
      expect((await rawPost(before.url, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(400)
      before.close()
    })
  })

  test('holds bytes back for the latency and its jitter, in the direction that was said', async () => {
    const client = await dial()
    proxy.set('down', { latency: { ms: 100, jitter: 40 } })
    const ms = await timed(async () => {
      client.socket.write('a')
      await until(() => echo.chunks.length === 1, 90)
      await until(() => client.text === 'a')
    })
    // The test's random number of 0.75 is half of the jitter.
    expect(ms).toBeGreaterThan(115)
    expect(ms).toBeLessThan(1_000)
    proxy.clear()
    expect(
      await timed(async () => {
        client.socket.write('b')
        await until(() => client.text === 'ab')
      }),
    ).toBeLessThan(100)
  })

  test('has a latency that does not add up over the chunks of one stream', async () => {
    const client = await dial()
    proxy.set('up', { latency: { ms: 100 } })
    const ms = await timed(async () => {
      for (const letter of 'abcdefgh') {
        client.socket.write(letter)
        await delay(10)
      }
      await until(() => client.text === 'abcdefgh')
    })
    expect(ms).toBeLessThan(600)
  })

  test('refuses while it is down, and listens on the same port again', async () => {
    const client = await dial()
    const { port } = proxy
    proxy.down()
    await until(() => client.closed)
    const refused = new Client(connect(port, '127.0.0.1'))
    await until(() => refused.closed)
    expect(refused.error).toBe('ECONNREFUSED')
    await proxy.up()
    await proxy.up()
    expect(proxy.port).toBe(port)
    const again = await dial()
    again.socket.write('x')
    await until(() => again.text === 'x')
  })

  test('can refuse new connections and keep the old ones, or drop the old ones alone', async () => {
    const client = await dial()
    proxy.down({ existing: 'keep' })
    const refused = new Client(connect(proxy.port, '127.0.0.1'))
    await until(() => refused.closed)
    client.socket.write('still')
    await until(() => client.text === 'still')
    await proxy.up()
    proxy.drop()
    await until(() => client.closed)
    const other = await dial()
    other.socket.write('new')
    await until(() => other.text === 'new')
  })

  test('lets so many bytes a second through, until that is lifted', async () => {
    const client = await dial()
    proxy.set('up', { bandwidth: { bytesPerSecond: 2_000 } })
    client.socket.write('x'.repeat(100_000))
    await delay(300)
    const sofar = proxy.counts.bytes.up
    expect(sofar).toBeGreaterThan(100)
    expect(sofar).toBeLessThan(2_000)
    proxy.clear('up')
    await until(() => client.text.length === 100_000)
  })

  test('passes the end on late', async () => {
    const client = await dial()
    proxy.set('up', { slowClose: { ms: 150 } })
    const started = performance.now()
    client.socket.end()
    await until(() => echo.ends.length === 1)
    expect((echo.ends[0]?.at ?? 0) - started).toBeGreaterThan(140)
  })

  test('is a black hole: nothing passes and nothing ends, and afterwards the connection is dropped', async () => {
    const client = await dial()
    proxy.set('up', { timeout: {} })
    client.socket.write('lost')
    client.socket.destroy()
    await delay(100)
    expect(echo.chunks).toEqual([])
    expect(echo.ends).toEqual([])
    expect(proxy.counts.open).toBe(1)
    proxy.clear()
    await until(() => proxy.counts.open === 0)
    expect(echo.chunks).toEqual([])
  })

  test('is a black hole that leaves a connection alone which lost nothing', async () => {
    const client = await dial()
    proxy.set('down', { timeout: {} })
    await delay(20)
    proxy.clear('down')
    client.socket.write('fine')
    await until(() => client.text === 'fine')
  })

  test('is a black hole that closes after its time', async () => {
    const client = await dial()
    proxy.set('down', { timeout: { ms: 100 } })
    const ms = await timed(() => until(() => client.closed))
    expect(ms).toBeGreaterThan(80)
  })

  test('resets the receiver of a direction, at once or later', async () => {
    const client = await dial()
    proxy.set('down', { reset: {} })
    await until(() => client.closed)
    expect(client.error).toBe('ECONNRESET')
    expect(echo.ends.every(({ error }) => error === null)).toBe(true)
    proxy.set('down', {})
    proxy.set('up', { reset: { ms: 100 } })
    echo.ends.splice(0)
    const other = await dial()
    other.socket.write('x')
    await until(() => other.text === 'x')
    await until(() => echo.ends.some(({ error }) => error === 'ECONNRESET'))
    expect(other.error).toBe(null)
  })

  test('cuts into pieces, each of which arrives by itself', async () => {
    const client = await dial()
    proxy.set('down', { slicer: { bytes: 1, delayMs: 25 } })
    client.socket.write('äöü')
    await until(() => client.text.length >= 6)
    expect(client.chunks).toBe(6)
    expect(echo.chunks).toEqual([6])
    proxy.set('up', { slicer: { bytes: 4, variation: 4, delayMs: 25 } })
    client.socket.write('123456789012')
    await until(() => echo.chunks.length === 3)
    expect(echo.chunks.slice(1)).toEqual([6, 6])
  })

  test('ends cleanly after so many bytes, counted anew each time', async () => {
    const client = await dial()
    client.socket.write('12345')
    await until(() => client.text === '12345')
    proxy.set('down', { limitData: { bytes: 3 } })
    client.socket.write('abcdef')
    await until(() => client.ended)
    expect(client.text).toBe('12345abc')
    expect(client.error).toBe(null)
    await until(() => echo.ends.length > 0)
    client.socket.destroy()
    await until(() => proxy.counts.open === 0)
  })

  test('adds words up, and drops what its target refuses', async () => {
    const client = await dial()
    proxy.set('down', { latency: { ms: 60 } })
    proxy.add('down', { slicer: { bytes: 2, delayMs: 2 } })
    const ms = await timed(async () => {
      client.socket.write('123456')
      await until(() => client.text === '123456')
    })
    expect(ms).toBeGreaterThan(55)
    expect(client.chunks).toBe(3)
    const nobody = await openToxic({ transport: 'http', url: `http://127.0.0.1:${await unused()}/mcp` })
    const refused = new Client(connect(nobody.port, '127.0.0.1'))
    await until(() => refused.closed)
    nobody.close()
  })
})

async function unused(): Promise<number> {
  const other = createServer()
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  await new Promise(resolve => other.close(resolve))
  return port
}
