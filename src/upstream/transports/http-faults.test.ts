import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { TIMEOUTS, TransportRecorder } from '../../../test/kit/transport-recorder.js'
import { verifies } from '../../../test/kit/verifies.js'
import { nodeHost } from '../../host/index.js'
import { LIMITS } from '../../model/index.js'
import type { Clock } from '../../runtime/ports.js'
import { createHttpTransport } from './http.js'
import { createSseTransport } from './sse.js'

type Seen = Pick<IncomingMessage, 'method' | 'url' | 'headers'> & { readonly body: string }
type Answer = (req: Seen, res: ServerResponse) => void

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function serve(answer: Answer) {
  const seen: Seen[] = []
  const server = createServer((req, res) => {
    let body = ''
    req.on('data', chunk => {
      body += chunk
    })
    req.once('end', () => {
      const { method, url, headers } = req
      const one = { method, url, headers, body }
      seen.push(one)
      answer(one, res)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

/** A server below HTTP: each request is answered with these bytes. */
async function serveRaw(answer: (socket: Socket, request: string) => void) {
  const sockets = { closed: 0, all: 0 }
  const server = createTcp(socket => {
    sockets.all += 1
    socket.on('error', () => undefined)
    socket.once('close', () => {
      sockets.closed += 1
    })
    let request = ''
    socket.on('data', data => {
      request += data.toString()
      // Headers and body may come apart.
      if (request.endsWith('}')) answer(socket, request)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

function connect(url: string, clock: Clock = nodeHost().clock, awaits?: (id: number) => boolean) {
  const events = Object.assign(new TransportRecorder(), awaits ? { awaits } : {})
  const host = { ...nodeHost(), clock }
  const transport = createHttpTransport(host, { kind: 'http', url, headers: {} }, TIMEOUTS, events)
  closing.push(() => transport.destroy())
  return { transport, events }
}

const ask = (id: number) => ({ id, bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"m"}`) })
const result = (id: number) => `{"jsonrpc":"2.0","id":${id},"result":{}}`
const json = (res: ServerResponse, body: string, headers = {}) =>
  res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body)
const idOf = ({ body }: Seen) => Number(JSON.parse(body).id)
const STREAM = { 'content-type': 'text/event-stream' }

async function faultOf(url: string) {
  const { transport, events } = connect(url)
  transport.send(ask(1))
  return { ...(await events.endedOf(1)), events }
}

describe('an answer that cannot be read', () => {
  verifies(['F44'], 'because it is packed, which was not asked for, is not unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20, 0x20))
    const { origin, seen } = await serve((_, res) => json(res, bomb as never, { 'content-encoding': 'gzip' }))
    const before = process.memoryUsage().rss
    const { fault } = await faultOf(origin)
    expect(fault).toMatchObject({ phase: 'unknown', reason: 'not-mcp' })
    expect(fault?.message).toBe('POST / answered with the content-encoding gzip, which was not asked for')
    expect(process.memoryUsage().rss - before).toBeLessThan(32 << 20)
    expect(seen[0]?.headers['accept-encoding']).toBe('identity')
    const plain = await serve((_, res) => json(res, result(1), { 'content-encoding': 'identity' }))
    expect((await faultOf(plain.origin)).fault).toBeNull()
  })

  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'
  const rows: [what: string, bytes: string, reason: string][] = [
    ['its length is less than what comes', `${head}content-length: 10\r\n\r\n${result(1)}`, 'a part of it'],
    ['its chunks are garbage', `${head}transfer-encoding: chunked\r\n\r\nzz\r\n{"a"`, 'garbled'],
    ['its length is said twice', `${head}content-length: 5\r\ncontent-length: 9\r\n\r\n{}`, 'garbled'],
    ['its headers never end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(40_000)}`, 'garbled'],
  ]
  for (const [what, bytes, reason] of rows) {
    verifies(['F44'], `because ${what} costs its caller an answer`, async () => {
      const { origin } = await serveRaw(socket => socket.write(bytes))
      const { fault, events } = await faultOf(origin)
      if (reason === 'garbled') expect(fault).toMatchObject({ reason, phase: 'unknown' })
      else expect(events.all('message').map(({ text }) => text)).toEqual([result(1).slice(0, 10)])
    })
  }

  verifies(['F44'], 'because less comes than its length says may have been one', async () => {
    const { origin } = await serveRaw(socket => socket.end(`${head}content-length: 1000\r\n\r\n${result(1)}`))
    expect((await faultOf(origin)).fault).toMatchObject({ phase: 'unknown', reason: 'reset' })
  })

  test('because one event is too large is told before its end, which may never come', async () => {
    const { origin } = await serve((_, res) => {
      res.writeHead(200, STREAM).write(`data: ${'x'.repeat(LIMITS.upstreamMessageBytes + 10)}`)
    })
    expect((await faultOf(origin)).fault).toMatchObject({ phase: 'unknown', reason: 'too-large' })
  })
})

describe('a session', () => {
  const answers =
    (status: number, body: string): Answer =>
    (req, res) => {
      if (req.method !== 'POST') return void res.writeHead(405).end()
      if (idOf(req) === 1) return void json(res, result(1), { 'mcp-session-id': 's' })
      res.writeHead(status, { 'content-type': 'application/json' }).end(body)
    }

  verifies(
    ['J125', 'J126'],
    'that is lost is told to each request that was on it, and closed after them',
    async () => {
      const waiting: (() => void)[] = []
      const { origin, seen } = await serve((req, res) => {
        if (idOf(req) === 1) return answers(404, '')(req, res)
        waiting.push(() => answers(400, 'No valid session ID')(req, res))
      })
      const { transport, events } = connect(origin)
      transport.send(ask(1))
      await events.endedOf(1)
      for (const id of [2, 3, 4]) transport.send(ask(id))
      await expect.poll(() => waiting.length).toBe(3)
      waiting[0]?.()
      await events.next('ended', 2)
      transport.send(ask(5))
      expect((await events.endedOf(5)).fault).toMatchObject({ phase: 'never-sent', reason: 'session-lost' })
      expect(events.all('closed')).toEqual([])
      for (const answer of waiting.slice(1)) answer()
      expect((await events.next('closed')).fault.reason).toBe('session-lost')
      expect(events.all('ended').map(({ id, fault }) => [id, fault?.phase ?? null])).toEqual([
        [1, null],
        [2, 'rejected'],
        [5, 'never-sent'],
        [3, 'rejected'],
        [4, 'rejected'],
      ])
      expect(seen).toHaveLength(4)
    },
  )

  test('that is lost is closed although one request on it is never answered', async () => {
    const { origin } = await serve((req, res) => {
      if (idOf(req) !== 2) answers(404, '')(req, res)
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    transport.send(ask(2))
    transport.send(ask(3))
    expect((await events.next('closed', 1)).fault.reason).toBe('session-lost')
    expect(events.all('ended').map(({ id }) => id)).toEqual([1, 3])
  })

  test('is not lost by an error that does not speak of it', async () => {
    for (const [status, body] of [
      [400, 'bad'],
      [503, 'busy'],
      [500, 'session not found'],
    ] as const) {
      const { origin } = await serve(answers(status, body))
      const { transport, events } = connect(origin)
      transport.send(ask(1))
      await events.endedOf(1)
      transport.send(ask(2))
      expect((await events.endedOf(2)).fault).toMatchObject({ reason: 'http-status', status })
      expect(events.all('closed')).toEqual([])
    }
  })

  /** Opens a session and its GET stream, which is answered like this. */
  async function listening(get: (res: ServerResponse, nth: number) => void) {
    let gets = 0
    const { origin } = await serve((req, res) => {
      if (req.method === 'GET') get(res, ++gets)
      else json(res, result(1), { 'mcp-session-id': 's' })
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    transport.openNotificationStream()
    await expect.poll(() => gets).toBeGreaterThan(0)
    return { events, gets: () => gets }
  }

  verifies(
    ['J127'],
    'is lost by a 404 on its GET stream, unless the server only does not serve GET',
    async () => {
      const again = await listening((res, nth) => {
        if (nth > 1) return void res.writeHead(404).end()
        res.writeHead(200, STREAM).end('retry: 500\ndata: {"n":1}\n\n')
      })
      expect((await again.events.next('closed')).fault).toMatchObject({ reason: 'session-lost', status: 404 })
      const first = await listening(res =>
        res.writeHead(404).end('{"error":{"message":"Session not found"}}'),
      )
      expect((await first.events.next('closed')).fault.message).toBe('HTTP 404 from GET /')
      for (const [status, body] of [
        [405, ''],
        [404, 'Cannot GET /mcp'],
        [404, ''],
      ] as const) {
        const none = await listening(res => res.writeHead(status).end(body))
        await new Promise(resolve => setTimeout(resolve, 100))
        expect(none.events.all('closed'), `${status} ${body}`).toEqual([])
        expect(none.gets()).toBe(1)
      }
    },
  )
})

describe('a redirect', () => {
  verifies(['J131', 'F43'], 'that was followed holds for the stream and the end of the session', async () => {
    const { origin, seen } = await serve((req, res) => {
      if (req.url === '/mcp') return void res.writeHead(307, { location: '/mcp/' }).end()
      if (req.method === 'GET') return void res.writeHead(200, STREAM).write(': hi\n\n')
      json(res, result(1), { 'mcp-session-id': 's' })
    })
    const { transport, events } = connect(`${origin}/mcp`)
    transport.send(ask(1))
    await events.endedOf(1)
    transport.openNotificationStream()
    await expect.poll(() => seen.length).toBe(3)
    await transport.close()
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /mcp',
      'POST /mcp/',
      'GET /mcp/',
      'DELETE /mcp/',
    ])
  })

  verifies(
    ['J131', 'F43'],
    'from https to http is to another origin, and nothing of the request goes there',
    async () => {
      const other = await serve((_, res) => json(res, result(1)))
      const { origin } = await serve((_, res) => {
        const location = `${other.origin.replace('127.0.0.1', 'localhost')}/mcp`
        res.writeHead(307, { location }).end()
      })
      const { fault } = await faultOf(`${origin}/mcp`)
      expect(fault).toMatchObject({ phase: 'rejected', status: 307 })
      expect(fault?.message).toMatch(/a redirect to http:\/\/localhost:\d+ was not followed/)
      expect(other.seen).toEqual([])
    },
  )
})

describe('a stream that is left open after its answer', () => {
  test('is dropped after a while, and one that is still awaited is not', async () => {
    const real = nodeHost().clock
    const clock: Clock = { ...real, after: (ms, fn) => real.after(ms >= 10_000 ? 50 : ms, fn) }
    const closed: number[] = []
    const { origin } = await serve((req, res) => {
      res.once('close', () => closed.push(idOf(req)))
      res.writeHead(200, STREAM).write(`data: ${idOf(req) === 2 ? '{"n":1}' : result(idOf(req))}\n\n`)
    })
    const { transport, events } = connect(origin, clock, id => id === 2)
    for (const id of [1, 2, 3]) transport.send(ask(id))
    await events.next('message', 3)
    await expect.poll(() => [...closed].sort()).toEqual([1, 3])
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(closed).toHaveLength(2)
    expect(events.all('ended')).toEqual([])
  })
})

describe('a half-open connection', () => {
  verifies(['F31'], 'is dropped with the request that found it, and not used for the next one', async () => {
    let asked = false
    const { origin, sockets } = await serveRaw((socket, request) => {
      if (request.includes('"id":1')) {
        asked = true
        return
      }
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n${result(2)}`,
      )
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await expect.poll(() => asked).toBe(true)
    transport.abort(1)
    await expect.poll(() => sockets.closed).toBe(1)
    transport.send(ask(2))
    expect((await events.endedOf(2)).fault).toBeNull()
    expect(sockets.all).toBe(2)
  })
})

describe('resumption', () => {
  verifies(
    ['F33'],
    'of a stream that says something new each time slows down, and ends with what it waits for',
    async () => {
      let gets = 0
      const { origin, seen } = await serve((req, res) => {
        if (req.method === 'GET') gets += 1
        const last = gets === 12
        res.writeHead(200, STREAM)
        res.end(`retry: 50\nid: e${gets}\ndata: ${last ? result(1) : '{"jsonrpc":"2.0","method":"p"}'}\n\n`)
      })
      const before = performance.now()
      const { fault } = await faultOf(origin)
      expect(fault).toBeNull()
      expect(seen.filter(({ method }) => method === 'GET')).toHaveLength(12)
      expect(performance.now() - before).toBeGreaterThan(10 * 50 + 2 * 1_000 - 50)
    },
  )

  verifies(['F33'], 'behind an id that no header takes is not tried', async () => {
    const { origin, seen } = await serve((_, res) =>
      res.writeHead(200, STREAM).end(`id: ${'e'.repeat(2_000)}\ndata: {"jsonrpc":"2.0","method":"p"}\n\n`),
    )
    expect((await faultOf(origin)).fault).toBeNull()
    expect(seen).toHaveLength(1)
  })
})

describe('HTTP+SSE of 2024-11-05', () => {
  test('lets go of a POST whose receipt never comes when its request is given up', async () => {
    let dropped = 0
    const { origin } = await serve((req, res) => {
      if (req.method === 'GET')
        return void res.writeHead(200, STREAM).write('event: endpoint\ndata: /messages\n\n')
      res.once('close', () => {
        dropped += 1
      })
    })
    const events = new TransportRecorder()
    const spec = { kind: 'sse' as const, url: `${origin}/sse`, headers: {} }
    const transport = createSseTransport(nodeHost(), spec, TIMEOUTS, events)
    closing.push(() => transport.destroy())
    await transport.start(new AbortController().signal)
    transport.send(ask(1))
    await new Promise(resolve => setTimeout(resolve, 50))
    transport.abort(1)
    await expect.poll(() => dropped).toBe(1)
    expect(events.log).toEqual([])
  })

  test('fails the request whose answer was too large, by the id in it', async () => {
    const { origin } = await serve((req, res) => {
      if (req.method === 'POST') return void res.writeHead(202).end()
      res.writeHead(200, STREAM).write('event: endpoint\ndata: /messages\n\n')
      res.write(`data: {"jsonrpc":"2.0","id":1,"result":"${'x'.repeat(LIMITS.upstreamMessageBytes)}"}\n\n`)
      res.write(`data: ${'y'.repeat(LIMITS.upstreamMessageBytes + 1)}\n\ndata: ${result(2)}\n\n`)
    })
    const events = new TransportRecorder()
    const spec = { kind: 'sse' as const, url: `${origin}/sse`, headers: {} }
    const transport = createSseTransport(nodeHost(), spec, TIMEOUTS, events)
    closing.push(() => transport.destroy())
    await transport.start(new AbortController().signal)
    expect((await events.next('message')).text).toBe(result(2))
    expect(events.all('ended').map(({ id, fault }) => [id, fault?.reason])).toEqual([[1, 'too-large']])
    expect(events.all('noise').map(({ text }) => text)).toEqual([
      `an event of more than ${LIMITS.upstreamMessageBytes} bytes was dropped: it is too large`,
    ])
  })
})
