import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { TIMEOUTS, TransportRecorder } from '../../../test/kit/transport-recorder.js'
import { verifies } from '../../../test/kit/verifies.js'
import { nodeHost } from '../../host/index.js'
import { LIMITS } from '../../model/index.js'
import type { HttpPool } from '../../runtime/ports.js'
import { createHttpTransport } from './http.js'

interface Seen {
  readonly verb: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

type Answer = (req: Seen, res: ServerResponse) => void

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function serve(answer: Answer) {
  const seen: Seen[] = []
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.once('end', () => {
      const { method = '', url = '', headers } = req
      const one = { verb: method, url, headers, body: Buffer.concat(chunks).toString() }
      seen.push(one)
      answer(one, res)
    })
  })
  const origin = await listen(server)
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { origin, seen }
}

/** A server below HTTP: whatever comes is answered with these bytes, then the socket is dropped. */
async function serveRaw(answer: (socket: Socket) => void): Promise<string> {
  const server = createTcpServer(socket => {
    socket.on('error', () => undefined)
    socket.once('data', () => answer(socket))
  })
  closing.push(() => server.close())
  return listen(server)
}

function connect(url: string, headers: Record<string, string> = {}) {
  const events = new TransportRecorder()
  const transport = createHttpTransport(nodeHost(), { kind: 'http', url, headers }, TIMEOUTS, events)
  closing.push(() => transport.destroy())
  return { transport, events }
}

/** No resolver is asked for a label this long. */
const LONG_NAME = `${'a'.repeat(64)}.invalid`
const ask = (id: number, headers?: Record<string, string>) => ({
  id,
  bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"m"}`),
  ...(headers ? { headers } : {}),
})
const NOTE = { bytes: Buffer.from('{"jsonrpc":"2.0","method":"n"}') }
const result = (id: number) => `{"jsonrpc":"2.0","id":${id},"result":{}}`
const json = (res: ServerResponse, body: string, headers = {}) =>
  res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body)
const begun = { 'content-type': 'text/event-stream' }
const stream = (res: ServerResponse, body: string) => res.writeHead(200, begun).write(body)
const wholeStream = (res: ServerResponse, body: string) => res.writeHead(200, begun).end(body)

/** What becomes of one request to a server that answers like this. */
async function outcome(answer: Answer, path = '/mcp') {
  const { origin, seen } = await serve(answer)
  const { transport, events } = connect(origin + path)
  transport.send(ask(1))
  const { fault } = await events.endedOf(1)
  return { fault, events, origin, seen }
}

describe('an answer over Streamable HTTP', () => {
  test('as JSON is one message and a proper end, and the headers are those of the protocol and the config', async () => {
    const { origin, seen } = await serve((_, res) => json(res, result(1)))
    const { transport, events } = connect(`${origin}/mcp?key=s3cret`, {
      'X-Own': 'Ä',
      Accept: 'x/y',
      Authorization: 'Bearer t',
    })
    await transport.start(new AbortController().signal)
    transport.send(ask(1, { 'mcp-method': 'm' }))
    expect((await events.endedOf(1)).fault).toBeNull()
    expect(events.log.map(event => event.kind)).toEqual(['message', 'ended'])
    expect(events.all('message')[0]).toMatchObject({ text: result(1), source: 1 })
    expect(seen[0]).toMatchObject({ verb: 'POST', url: '/mcp?key=s3cret', body: ask(1).bytes.toString() })
    expect(seen[0]?.headers).toMatchObject({
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      authorization: 'Bearer t',
      'mcp-method': 'm',
    })
    expect(Buffer.from(String(seen[0]?.headers['x-own']), 'latin1').length).toBe(1)
  })

  test('as a JSON array is as many messages', async () => {
    const { events } = await outcome((_, res) => json(res, `[{"a":1},${result(1)}]`))
    expect(events.all('message').map(event => event.text)).toEqual(['{"a":1}', result(1)])
  })

  test('as an event stream is its events, whatever else is in it', async () => {
    const body = `: hi\n\nevent: ping\ndata: x\n\ndata: {"p":1}\r\n\r\ndata: ${result(1)}\n\n`
    const { fault, events } = await outcome((_, res) => wholeStream(res, body))
    expect(fault).toBeNull()
    expect(events.all('message').map(event => [event.text, event.source])).toEqual([
      ['{"p":1}', 1],
      [result(1), 1],
    ])
  })

  test('is waited for as long as the request likes, the receipt of a notification for LIMITS.receiptMs', () => {
    const asked: number[] = []
    const pool: HttpPool = {
      request: ({ headersTimeoutMs }) => {
        asked.push(headersTimeoutMs)
        return { abort: () => undefined }
      },
      destroy: () => undefined,
    }
    const host = { ...nodeHost(), dialer: { pool: () => pool } }
    const spec = { kind: 'http', url: 'http://server.test/mcp', headers: {} } as const
    const transport = createHttpTransport(host, spec, TIMEOUTS, new TransportRecorder())
    transport.send(ask(1))
    transport.send(NOTE)
    transport.destroy()
    expect(asked).toEqual([0, LIMITS.receiptMs])
  })

  test('to a notification may be nothing at all, or anything', async () => {
    const { origin, seen } = await serve((_, res) =>
      seen.length === 1
        ? res.writeHead(202).end()
        : res.writeHead(200, { 'content-type': 'text/plain' }).end('ok'),
    )
    const { transport, events } = connect(origin)
    transport.send(NOTE)
    transport.send(NOTE)
    await expect.poll(() => seen.length).toBe(2)
    expect(events.log).toEqual([])
  })
})

describe('a request that fails', () => {
  test.each([202, 204])('with status %i and no body is told as an answer that is none', async status => {
    const { fault } = await outcome((_, res) => res.writeHead(status).end())
    expect(fault).toMatchObject({
      phase: 'unknown',
      reason: 'not-mcp',
      message: `POST /mcp answered ${status} without an answer`,
    })
  })

  test('with a page for people shows the start of it', async () => {
    const { fault } = await outcome((_, res) =>
      res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Log\n in</h1>'),
    )
    expect(fault).toMatchObject({ phase: 'unknown', reason: 'not-mcp' })
    expect(fault?.message).toBe('POST /mcp answered text/html instead of MCP: <h1>Log in</h1>')
  })

  test.each([
    [400, 'rejected', 'http-status'],
    [401, 'rejected', 'unauthorized'],
    [404, 'rejected', 'http-status'],
    [405, 'rejected', 'http-status'],
    [408, 'unknown', 'http-status'],
    [429, 'rejected', 'http-status'],
    [500, 'unknown', 'http-status'],
    [503, 'unknown', 'http-status'],
  ])(
    'with status %i is %s, with status, deciding headers and body, and without the query',
    async (status, phase, reason) => {
      const date = 'Sat, 31 Jan 2026 12:01:00 GMT'
      const deciding = { 'content-type': 'application/json', 'retry-after': '2', date }
      const { fault, events } = await outcome(
        (_, res) => res.writeHead(status, { ...deciding, 'x-other': '1' }).end('{"error":1}'),
        '/mcp?key=s3cret',
      )
      expect(fault).toMatchObject({ phase, reason, status, message: `HTTP ${status} from POST /mcp` })
      expect(fault?.headers).toEqual(deciding)
      expect(Buffer.from(fault?.body ?? []).toString()).toBe('{"error":1}')
      expect(events.log).toHaveLength(1)
    },
  )

  test('with an endless body is told without waiting for its end', async () => {
    const flood = (res: ServerResponse) => {
      const more = () =>
        void (
          res.destroyed ||
          (res.write(Buffer.alloc(1 << 20, 0x20)) ? setImmediate(more) : res.once('drain', more))
        )
      more()
    }
    const refused = await outcome((_, res) => flood(res.writeHead(500)))
    expect(refused.fault).toMatchObject({ status: 500, phase: 'unknown' })
    expect(refused.fault?.body?.length).toBe(64 * 1024)
    const json = await outcome((_, res) => flood(res.writeHead(200, { 'content-type': 'application/json' })))
    expect(json.fault).toMatchObject({ reason: 'too-large', phase: 'unknown' })
    const sse = await outcome((_, res) => {
      stream(res, `data: ${'x'.repeat(17 << 20)}\n\n`)
    })
    expect(sse.fault).toMatchObject({ reason: 'too-large', phase: 'unknown' })
  })

  test('because nobody listens, or because the name is unknown, was never sent', async () => {
    const origin = await serveRaw(() => undefined)
    closing.pop()?.()
    await expect
      .poll(async () => {
        const { transport, events } = connect(`${origin}/mcp`)
        transport.send(ask(1))
        return (await events.endedOf(1)).fault?.message
      })
      .toBe(`connection refused by ${new URL(origin).host}`)
    const { transport, events } = connect(`http://${LONG_NAME}/mcp`)
    transport.send(ask(1))
    const { fault } = await events.endedOf(1)
    expect(fault).toMatchObject({ phase: 'never-sent', reason: 'dns' })
  })

  test('because a configured header cannot be sent says so, and was never sent', async () => {
    const { origin, seen } = await serve((_, res) => json(res, result(1)))
    const { transport, events } = connect(origin, { authorization: 'Bearer “x”\n' })
    transport.send(ask(1))
    const { fault } = await events.endedOf(1)
    expect(fault).toMatchObject({ phase: 'never-sent', reason: 'other' })
    expect(fault?.message).toContain('invalid authorization header')
    expect(seen).toEqual([])
  })

  test.each([
    ['before the headers', ''],
    ['within the headers', 'HTTP/1.1 200 OK\r\ncontent-ty'],
    [
      'within a JSON body',
      'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"id"',
    ],
    [
      'within an event',
      'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n20\r\ndata: {"id":1',
    ],
  ])('because the socket was reset %s may have run', async (_, bytes) => {
    const origin = await serveRaw(socket =>
      socket.write(bytes, () => setTimeout(() => socket.resetAndDestroy(), 20)),
    )
    const { transport, events } = connect(`${origin}/mcp`)
    transport.send(ask(1))
    const { fault } = await events.endedOf(1)
    expect(fault).toMatchObject({ phase: 'unknown', reason: 'reset' })
    expect(events.all('message')).toEqual([])
  })

  test('because the server does not speak HTTP says so', async () => {
    const origin = await serveRaw(socket => socket.end('SSH-2.0-OpenSSH_9.6\r\n'))
    const { transport, events } = connect(`${origin}/mcp`)
    transport.send(ask(1))
    const { fault } = await events.endedOf(1)
    expect(fault).toMatchObject({ phase: 'unknown' })
    expect(fault?.message).toContain('sent broken HTTP')
  })
})

describe('a redirect', () => {
  test('within the origin is followed with 307 and 308, three times at most', async () => {
    const followed = await outcome((req, res) =>
      req.url === '/mcp' ? res.writeHead(307, { location: '/a/' }).end() : json(res, result(1)),
    )
    expect(followed.fault).toBeNull()
    expect(followed.seen.map(({ verb, url, body }) => [verb, url, body])).toEqual([
      ['POST', '/mcp', ask(1).bytes.toString()],
      ['POST', '/a/', ask(1).bytes.toString()],
    ])
    const loop = await outcome((_, res) => res.writeHead(308, { location: '/mcp' }).end())
    expect(loop.seen).toHaveLength(4)
    expect(loop.fault).toMatchObject({ phase: 'rejected', reason: 'http-status', status: 308 })
  })

  test.each([301, 302, 303])('with %i would lose the body and is not followed', async status => {
    const { fault, seen } = await outcome((_, res) => res.writeHead(status, { location: '/other' }).end())
    expect(seen).toHaveLength(1)
    expect(fault).toMatchObject({
      phase: 'rejected',
      message: `HTTP ${status} from POST /mcp: its redirect was not followed`,
    })
  })

  test('to another origin is refused by name, and nothing reaches that origin', async () => {
    const other = await serve((_, res) => json(res, result(1)))
    const { fault } = await outcome((_, res) =>
      res.writeHead(307, { location: `${other.origin}/x?key=s3cret` }).end(),
    )
    expect(fault).toMatchObject({ phase: 'rejected', reason: 'http-status', status: 307 })
    expect(fault?.message).toBe(`HTTP 307 from POST /mcp: a redirect to ${other.origin} was not followed`)
    expect(other.seen).toEqual([])
  })
})

describe('a legacy session', () => {
  const session: Answer = (req, res) => {
    if (req.verb === 'GET') return void res.writeHead(405).end()
    if (req.verb === 'DELETE') return void res.writeHead(200).end()
    if (req.body.includes('"id":9')) return void res.writeHead(404).end()
    json(res, result(1), { 'mcp-session-id': 's-1' })
  }

  test('keeps its id and version on every later message, and is deleted at the end', async () => {
    const { origin, seen } = await serve(session)
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    transport.useProtocolVersion('2025-06-18')
    transport.send(NOTE)
    transport.openNotificationStream()
    await expect.poll(() => seen.length).toBe(3)
    await Promise.all([transport.close(), transport.close()])
    const headers = seen.map(({ verb, headers }) => [
      verb,
      headers['mcp-session-id'],
      headers['mcp-protocol-version'],
    ])
    expect(headers[0]).toEqual(['POST', undefined, undefined])
    expect(headers.slice(1).map(String).sort()).toEqual(
      ['DELETE', 'GET', 'POST'].map(verb => `${verb},s-1,2025-06-18`),
    )
    expect(seen.at(-1)?.verb).toBe('DELETE')
    expect(events.all('closed')).toEqual([])
  })

  test('that the server no longer knows ends the transport, after the request that found out', async () => {
    const { origin } = await serve(session)
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    transport.send(ask(9))
    const { fault } = await events.next('closed')
    expect(fault).toMatchObject({ reason: 'session-lost', phase: 'rejected', status: 404 })
    expect(events.log.slice(-2).map(event => event.kind)).toEqual(['ended', 'closed'])
  })

  test('that is lost takes nothing more: what is sent while its end is told was never sent', async () => {
    const { origin } = await serve((req, res) =>
      req.body.includes('"id":1,') ? session(req, res) : void res.writeHead(404).end(),
    )
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    const ended = events.ended.bind(events)
    events.ended = (id, fault) => {
      ended(id, fault)
      if (events.all('ended').length === 3) transport.send(ask(10))
    }
    transport.send(ask(8))
    transport.send(ask(9))
    await events.next('closed')
    expect(events.all('ended').map(({ fault }) => fault?.phase)).toEqual([
      undefined,
      'rejected',
      'rejected',
      'never-sent',
    ])
  })

  test('is not begun by an answer to a modern request, nor by an id that no header can carry', async () => {
    const { origin, seen } = await serve((_, res) =>
      json(res, result(1), { 'mcp-session-id': seen.length === 1 ? 's-1' : 'a b' }),
    )
    const { transport, events } = connect(origin)
    transport.send(ask(1, { 'mcp-protocol-version': '2026-07-28' }))
    await events.endedOf(1)
    transport.send(ask(2))
    await events.endedOf(2)
    transport.send(ask(3))
    await events.endedOf(3)
    expect(seen.map(({ headers }) => headers['mcp-session-id'])).toEqual([undefined, undefined, undefined])
    await transport.close()
    expect(seen).toHaveLength(3)
  })

  test('whose server does not answer the DELETE is left after a while', async () => {
    const { origin } = await serve((req, res) => {
      if (req.verb === 'POST') session(req, res)
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.endedOf(1)
    const before = performance.now()
    await transport.close()
    expect(performance.now() - before).toBeLessThan(3_000)
  })
})

const P = '{"jsonrpc":"2.0","method":"p"}'

describe('a numbered answer stream that breaks off', () => {
  const begin = `retry: 60\nid: e1\ndata: ${P}\n\n`

  for (const how of ['cleanly', 'by a reset']) {
    verifies(['P39b'], `${how} is taken up again behind its last event`, () => takenUpAgain(how))
  }

  async function takenUpAgain(how: string) {
    const { fault, events, seen } = await outcome((req, res) => {
      if (req.verb === 'GET') return void wholeStream(res, `id: e2\ndata: ${result(1)}\n\n`)
      stream(res, begin)
      setTimeout(() => (how === 'cleanly' ? res.end() : res.destroy()), 20)
    })
    expect(fault).toBeNull()
    expect(events.all('message').map(event => [event.text, event.source])).toEqual([
      [P, 1],
      [result(1), 1],
    ])
    expect(seen.map(({ verb, headers }) => [verb, headers['last-event-id']])).toEqual([
      ['POST', undefined],
      ['GET', 'e1'],
    ])
  }

  test('is given up when the server refuses, or brings nothing new', async () => {
    const answers: Answer[] = [
      (_, res) => res.writeHead(405).end(),
      (_, res) => wholeStream(res, ': nothing\n\n'),
    ]
    for (const again of answers) {
      const { fault, seen } = await outcome((req, res) => {
        if (req.verb === 'GET') return again(req, res)
        stream(res, begin)
        setTimeout(() => res.destroy(), 20)
      })
      expect(seen).toHaveLength(2)
      if (again === answers[0]) expect(fault).toMatchObject({ phase: 'unknown', reason: 'reset' })
      else expect(fault).toBeNull()
    }
  })

  test('is not taken up after the answer, nor from a modern server', async () => {
    const { origin, seen } = await serve((req, res) => {
      stream(res, req.headers['mcp-protocol-version'] ? begin : `id: e1\ndata: ${result(1)}\n\n`)
      res.end()
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    transport.send(ask(2, { 'mcp-protocol-version': '2026-07-28' }))
    await events.endedOf(1)
    await events.endedOf(2)
    transport.send(ask(3))
    await events.endedOf(3)
    expect(seen.map(({ verb }) => verb)).toEqual(['POST', 'POST', 'POST'])
  })
})

describe('the notification stream', () => {
  test('brings messages of no request, and is opened again behind its last event', async () => {
    let opened = 0
    const { origin, seen } = await serve((_, res) => {
      opened += 1
      stream(res, `retry: 500\nid: n${opened}\ndata: {"n":${opened}}\n\n`)
      if (opened === 1) res.end()
    })
    const { transport, events } = connect(origin)
    transport.openNotificationStream()
    transport.openNotificationStream()
    await events.next('message', 2)
    expect(events.all('message').map(event => [event.text, event.source])).toEqual([
      ['{"n":1}', null],
      ['{"n":2}', null],
    ])
    expect(seen.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'n1'])
    expect(seen[0]?.headers.accept).toBe('text/event-stream')
  })

  test.each([404, 405, 400])(
    'is no loss where the server has none (%i), with and without a session',
    async status => {
      const { origin, seen } = await serve((req, res) =>
        req.verb === 'GET'
          ? res.writeHead(status).end()
          : json(res, result(1), req.body.includes('"id":2') ? { 'mcp-session-id': 's' } : {}),
      )
      for (const id of [1, 2]) {
        const { transport, events } = connect(origin)
        transport.send(ask(id))
        await events.endedOf(id)
        transport.openNotificationStream()
        await expect.poll(() => seen.filter(({ verb }) => verb === 'GET').length).toBe(id)
        transport.send(ask(3))
        await events.endedOf(3)
        expect(events.all('closed')).toEqual([])
      }
    },
  )
})

describe('after the end', () => {
  test.each(['close', 'destroy'] as const)('by %s nothing is told any more', async how => {
    const { origin, seen } = await serve((_, res) => stream(res, 'data: {"p":1}\n\n'))
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.next('message')
    await transport[how]()
    transport.send(ask(2))
    transport.openNotificationStream()
    await transport.close()
    transport.destroy()
    expect(seen).toHaveLength(1)
    expect(events.log).toHaveLength(1)
  })

  test('by abort one request is dropped without an end, and the others go on', async () => {
    let dropped = false
    const { origin, seen } = await serve((req, res) => {
      if (req.body.includes('"id":2')) return void json(res, result(2))
      res.once('close', () => {
        dropped = true
      })
      stream(res, 'data: {"p":1}\n\n')
    })
    const { transport, events } = connect(origin)
    transport.send(ask(1))
    await events.next('message')
    transport.abort(1)
    transport.abort(1)
    transport.send(ask(2))
    await events.endedOf(2)
    await expect.poll(() => dropped).toBe(true)
    expect(events.all('ended').map(event => event.id)).toEqual([2])
    expect(seen).toHaveLength(2)
  })
})
