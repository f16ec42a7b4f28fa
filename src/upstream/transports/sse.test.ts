import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { TIMEOUTS, TransportRecorder } from '../../../test/kit/transport-recorder.js'
import { nodeHost } from '../../host/index.js'
import type { TransportFault } from '../transport.js'
import { createSseTransport } from './sse.js'

interface Server {
  readonly origin: string
  /** Verb, path and body of each request. */
  readonly seen: string[]
  /** The event streams that were opened. */
  readonly streams: ServerResponse[]
}

type Answer = (what: string, res: ServerResponse, server: Server) => void

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function serve(answer: Answer): Promise<Server> {
  const server: Server = { origin: '', seen: [], streams: [] }
  const http = createServer((req, res) => {
    let body = ''
    req.on('data', chunk => {
      body += chunk
    })
    req.once('end', () => {
      server.seen.push(`${req.method} ${req.url} ${body}`.trim())
      answer(`${req.method} ${req.url}`, res, server)
    })
  })
  await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    http.close()
    http.closeAllConnections()
  })
  return Object.assign(server, { origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}` })
}

/** Opens the stream with these bytes, takes whatever is posted with 202. */
const stream =
  (first: string): Answer =>
  (what, res, server) => {
    if (what.startsWith('POST')) return void res.writeHead(202).end('Accepted')
    server.streams.push(res)
    res.writeHead(200, { 'content-type': 'text/event-stream' }).write(first)
  }

const ENDPOINT = 'event: endpoint\ndata: /messages?sessionId=1\n\n'
const MESSAGE = { id: 1, bytes: Buffer.from('{"id":1}') }

function make(url: string, timeouts = TIMEOUTS) {
  const events = new TransportRecorder()
  const transport = createSseTransport(
    nodeHost(),
    { kind: 'sse', url, headers: { 'X-Own': 'v' } },
    timeouts,
    events,
  )
  closing.push(() => transport.destroy())
  return { transport, events, start: () => transport.start(new AbortController().signal) }
}

async function open(answer: Answer) {
  const server = await serve(answer)
  const made = make(`${server.origin}/sse?key=s3cret`)
  await made.start()
  return { ...made, server }
}

/** The fault of a start that has to fail. */
async function refusal(answer: Answer, timeouts = TIMEOUTS): Promise<TransportFault> {
  const { origin } = await serve(answer)
  const { events, start } = make(`${origin}/sse?key=s3cret`, timeouts)
  const fault = await start().then(
    () => null,
    (thrown: TransportFault) => thrown,
  )
  expect(events.log).toEqual([])
  return fault as TransportFault
}

describe('HTTP+SSE of 2024-11-05', () => {
  test.each(['/messages?sessionId=1', 'messages?sessionId=1', 'absolute'])(
    'posts to the endpoint it was told (%s), and gets answers on the stream',
    async address => {
      const { transport, events, server } = await open((what, res, at) =>
        stream(
          address === 'absolute'
            ? `event: endpoint\ndata: ${at.origin}/messages?sessionId=1\n\n`
            : `event: endpoint\ndata: ${address}\n\n`,
        )(what, res, at),
      )
      transport.send(MESSAGE)
      await expect
        .poll(() => server.seen)
        .toEqual(['GET /sse?key=s3cret', 'POST /messages?sessionId=1 {"id":1}'])
      server.streams[0]?.write('event: message\ndata: {"id":1,"result":{}}\n\nevent: other\ndata: no\n\n')
      expect(await events.next('message')).toMatchObject({ text: '{"id":1,"result":{}}', source: null })
      expect(events.log).toHaveLength(1)
    },
  )

  test('follows a redirect within its origin to open the stream', async () => {
    const { server } = await open((what, res, at) =>
      what.startsWith('GET /sse?')
        ? res.writeHead(307, { location: '/sse/' }).end()
        : stream(ENDPOINT)(what, res, at),
    )
    expect(server.seen).toEqual(['GET /sse?key=s3cret', 'GET /sse/'])
  })

  test('tells a refused message with its status, and keeps the stream', async () => {
    const { transport, events } = await open((what, res, at) =>
      what.startsWith('POST') ? res.writeHead(404).end('no such session') : stream(ENDPOINT)(what, res, at),
    )
    transport.send({ bytes: MESSAGE.bytes })
    transport.send(MESSAGE)
    const { fault } = await events.endedOf(1)
    expect(fault).toMatchObject({ phase: 'rejected', status: 404, message: 'HTTP 404 from POST /messages' })
    expect(Buffer.from(fault?.body ?? []).toString()).toBe('no such session')
    expect(events.log).toHaveLength(1)
  })

  test.each([
    ['ended', 'eof', (res: ServerResponse) => void res.end()],
    ['was cut', 'reset', (res: ServerResponse) => void res.destroy()],
  ])('is closed when its stream %s, and sends nothing from then on', async (_, reason, cut) => {
    const { transport, events, server } = await open(stream(ENDPOINT))
    for (const res of server.streams) cut(res)
    expect((await events.next('closed')).fault).toMatchObject({ phase: 'unknown', reason })
    transport.send(MESSAGE)
    expect((await events.endedOf(1)).fault).toMatchObject({ phase: 'never-sent' })
    expect(server.seen).toHaveLength(1)
  })
})

describe('a start over HTTP+SSE fails', () => {
  test('when the endpoint is at another origin, to which nothing goes', async () => {
    const other = await serve(stream(ENDPOINT))
    const fault = await refusal(stream(`event: endpoint\ndata: ${other.origin}/messages\n\n`))
    expect(fault).toMatchObject({ phase: 'rejected', reason: 'not-mcp' })
    expect(fault.message).toContain(`another origin (${other.origin})`)
    expect(other.seen).toEqual([])
  })

  test('when a redirect leads to another origin', async () => {
    const other = await serve(stream(ENDPOINT))
    const fault = await refusal((_, res) => res.writeHead(307, { location: `${other.origin}/sse` }).end())
    expect(fault.message).toBe(`HTTP 307 from GET /sse: a redirect to ${other.origin} was not followed`)
    expect(other.seen).toEqual([])
  })

  test.each([
    [401, 'unauthorized'],
    [404, 'http-status'],
    [500, 'http-status'],
  ])('with status %i', async (status, reason) => {
    const fault = await refusal((_, res) => res.writeHead(status).end('why'))
    expect(fault).toMatchObject({ reason, status, message: `HTTP ${status} from GET /sse` })
  })

  test('when a page for people comes instead of a stream', async () => {
    const fault = await refusal((_, res) =>
      res.writeHead(200, { 'content-type': 'text/html' }).end('<p>hi</p>'),
    )
    expect(fault).toMatchObject({
      reason: 'not-mcp',
      message: 'GET /sse answered text/html instead of MCP: <p>hi</p>',
    })
  })

  test('when no endpoint is told in time, or the stream ends before', async () => {
    const quick = { ...TIMEOUTS, start: 150 }
    expect(await refusal(stream(': hello\n\n'), quick)).toMatchObject({
      phase: 'never-sent',
      reason: 'headers-timeout',
    })
    const ended = await refusal((_, res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).end())
    expect(ended).toMatchObject({ reason: 'eof' })
  })
})

describe('after its end', () => {
  test.each(['close', 'destroy'] as const)(
    'by %s, an HTTP+SSE transport tells nothing and holds no connection',
    async how => {
      const { transport, events, server } = await open(stream(ENDPOINT))
      const dropped = new Promise(resolve => server.streams[0]?.once('close', resolve))
      await transport[how]()
      await transport.close()
      transport.destroy()
      transport.send(MESSAGE)
      await dropped
      expect(events.log).toEqual([])
      expect(server.seen).toHaveLength(1)
    },
  )

  test('it cannot be started, and a start under way is given up', async () => {
    const { origin } = await serve(stream(': quiet\n\n'))
    const stopped = make(`${origin}/sse`)
    stopped.transport.destroy()
    await expect(stopped.start()).rejects.toMatchObject({ reason: 'aborted' })
    const control = new AbortController()
    const { transport } = make(`${origin}/sse`)
    const started = transport.start(control.signal)
    control.abort()
    await expect(started).rejects.toMatchObject({ reason: 'aborted' })
  })
})
