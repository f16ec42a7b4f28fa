import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { rawRequest, rawStream } from '../../test/kit/raw-http.js'
import { manualHost } from '../../test/kit/scripted-core.js'
import { ClientBuffers } from '../downstream/transports/client-buffers.js'
import { Outflow, watchRest } from '../downstream/transports/outflow.js'
import { GatewayError, LIMITS } from '../model/index.js'
import { healthOf } from './health.js'
import { Control, type ControlSource } from './routes.js'
import type { GatewayStatus, UpstreamStatus } from './status.js'
import { TransitionFeed } from './transitions.js'

const TOKEN = 'a'.repeat(64)
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` }
const CATALOG = { state: 'none', tools: 0, resources: 0, resourceTemplates: 0, prompts: 0 }
const status = (name: string, part: Partial<UpstreamStatus> = {}) =>
  ({
    name,
    state: 'ready',
    health: 'healthy',
    breaker: 'closed',
    reason: null,
    catalog: CATALOG,
    ...part,
  }) as unknown as UpstreamStatus

interface Served {
  readonly url: string
  readonly time: ReturnType<typeof manualHost>
  readonly transitions: TransitionFeed
  readonly control: Control
  /** Actions that were done, tests that were asked for. */
  readonly done: string[]
  readonly lines: Set<(line: string) => void>
  readonly buffers: ClientBuffers
  /** How large the status is, more or less. */
  padding: string
  post(
    path: string,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: Record<string, unknown> }>
}

async function withControl(body: (served: Served) => Promise<void>): Promise<void> {
  const time = manualHost()
  const transitions = new TransitionFeed(time.host.clock)
  const done: string[] = []
  const lines = new Set<(line: string) => void>()
  const act = (action: string) => () => Promise.resolve(void done.push(action))
  const all = [status('files'), status('wrong', { state: 'misconfigured', reason: 'X is not set' })]
  const buffers = new ClientBuffers(time.host.clock)
  const source: ControlSource = {
    token: TOKEN,
    clock: time.host.clock,
    readers: {
      open: (res, drained) => new Outflow(res, buffers, { drained }),
      watchRest: res => {
        if (res.writableLength > 0) watchRest(res, buffers)
      },
    },
    transitions,
    draining: false,
    status: () => ({ gateway: {}, padding: served.padding, upstreams: all }) as unknown as GatewayStatus,
    config: () => ({ hash: 'x', servers: [] }),
    upstream: name => all.find(one => one.name === name) ?? null,
    actions: name =>
      name === 'files'
        ? {
            restart: act('restart'),
            enable: () => void done.push('enable'),
            disable: act('disable'),
            refresh: act('refresh'),
            approve: names => {
              if (names?.includes('nothing')) throw new GatewayError('INVALID_PARAMS', 'files offers no tool')
              done.push(['approve', ...(names ?? [])].join(' '))
            },
          }
        : null,
    test: async (_name, { timeoutMs, attempts, signal }) => {
      if (attempts === 0) throw new GatewayError('INVALID_PARAMS', 'A test makes 1 to 10 tries, not 0.')
      if (timeoutMs === 1) {
        done.push('test begun')
        await new Promise(resolve => signal.addEventListener('abort', resolve))
      }
      done.push(signal.aborted ? 'test given up' : `test ${timeoutMs} ${attempts}`)
      return { ok: true }
    },
    logs: name => (name === 'files' ? ['first', 'second'] : null),
    followLogs: (_name, listener) => {
      lines.add(listener)
      return () => lines.delete(listener)
    },
    tools: () => Promise.resolve({ servers: [], tools: [], unavailable: [] }),
  }
  const control = new Control(source)
  const server = createServer((req, res) => {
    if (!control.handle(req, res, (req.url ?? '').replace(/\?.*/, ''))) res.writeHead(404).end('{}')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const post: Served['post'] = async (path, headers = AUTHORIZED) => {
    const answer = await rawRequest(`${url}${path}`, { method: 'POST', headers })
    return { status: answer.status, body: JSON.parse(answer.text) as Record<string, unknown> }
  }
  const served: Served = { url, time, transitions, control, done, lines, buffers, padding: '', post }
  try {
    await body(served)
  } finally {
    control.close()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
}

describe('acting on a server', () => {
  test.each(['restart', 'enable', 'disable', 'refresh', 'approve'])(
    '%s is done and answered with how it stands',
    async action => {
      await withControl(async ({ post, done }) => {
        const answer = await post(`/api/v1/upstreams/files/${action}`)
        expect(answer).toMatchObject({ status: 200, body: { name: 'files', state: 'ready' } })
        expect(done).toEqual([action])
      })
    },
  )

  test.each([
    ['no token', {}, 401],
    ['another scheme', { authorization: `Basic ${TOKEN}` }, 403],
    ['a wrong token', { authorization: `Bearer ${'b'.repeat(64)}` }, 403],
    ['a part of the token', { authorization: `Bearer ${TOKEN.slice(1)}` }, 403],
    ['an empty token', { authorization: 'Bearer ' }, 403],
  ])('is refused with %s', async (_what, headers, code) => {
    await withControl(async ({ post, done }) => {
      for (const action of ['restart', 'test'])
        expect(
          await post(`/api/v1/upstreams/files/${action}`, headers as Record<string, string>),
        ).toMatchObject({
          status: code,
          body: { error: expect.stringContaining('token') },
        })
      expect(done).toEqual([])
    })
  })

  test('takes POST alone', async () => {
    await withControl(async ({ url, done }) => {
      const path = `${url}/api/v1/upstreams/files/restart`
      const answer = await rawRequest(path, { method: 'GET', headers: AUTHORIZED })
      expect([answer.status, answer.headers['allow']]).toEqual([405, 'POST'])
      expect(done).toEqual([])
    })
  })

  test('names what is wrong with the name or with the entry', async () => {
    await withControl(async ({ post }) => {
      expect(await post('/api/v1/upstreams/nobody/restart')).toMatchObject({
        status: 404,
        body: { error: 'No server named "nobody" is configured.' },
      })
      expect(await post('/api/v1/upstreams/wrong/restart')).toMatchObject({
        status: 409,
        body: { error: expect.stringContaining('X is not set') },
      })
    })
  })

  test('tests with the numbers that were given, and refuses those that make no sense', async () => {
    await withControl(async ({ post, done }) => {
      expect((await post('/api/v1/upstreams/files/test?timeoutMs=700&retries=2')).body).toEqual({ ok: true })
      expect((await post('/api/v1/upstreams/wrong/test')).body).toEqual({ ok: true })
      expect(done).toEqual(['test 700 2', 'test undefined undefined'])
      expect(await post('/api/v1/upstreams/files/test?retries=0')).toMatchObject({
        status: 400,
        body: { error: expect.stringContaining('1 to 10 tries') },
      })
    })
  })

  test('gives a test up when the one who asked for it goes away', async () => {
    await withControl(async ({ url, done }) => {
      const stop = new AbortController()
      const path = `${url}/api/v1/upstreams/files/test?timeoutMs=1`
      const asked = fetch(path, { method: 'POST', headers: AUTHORIZED, signal: stop.signal })
      asked.catch(() => undefined)
      await expect.poll(() => done).toEqual(['test begun'])
      stop.abort()
      await expect.poll(() => done).toEqual(['test begun', 'test given up'])
    })
  })
})

describe('the event stream', () => {
  test('begins with how everything stands and goes on with every transition', async () => {
    await withControl(async ({ url, transitions }) => {
      transitions.observe(status('files'))
      const seen = transitions.lastId
      const stream = await rawStream(`${url}/api/v1/events`, { method: 'GET' })
      expect(stream.headers['content-type']).toBe('text/event-stream')
      expect(JSON.parse((await stream.next()) ?? '')).toMatchObject({ upstreams: [{ name: 'files' }, {}] })
      transitions.observe(status('files', { state: 'backoff' }))
      expect(JSON.parse((await stream.next()) ?? '')).toMatchObject({
        id: seen + 1,
        upstream: 'files',
        change: 'state',
        from: 'ready',
        to: 'backoff',
      })
      expect(stream.text).toContain(`event: snapshot\nid: ${seen}\n`)
      expect(stream.text).toContain(`event: transition\nid: ${seen + 1}\n`)
      stream.drop()
    })
  })

  test('has a comment every 15 s, and no timer once the reader left', async () => {
    await withControl(async ({ url, time }) => {
      const stream = await rawStream(`${url}/api/v1/events`, { method: 'GET' })
      await stream.next()
      const comments = () => stream.text.split(': keep-alive\n\n').length - 1
      time.advance(LIMITS.keepAliveMs - 1)
      time.advance(1)
      await expect.poll(comments).toBe(1)
      time.advance(LIMITS.keepAliveMs)
      await expect.poll(comments).toBe(2)
      stream.drop()
      await expect.poll(() => time.timers).toBe(0)
    })
  })

  test('ends with the gateway', async () => {
    await withControl(async ({ url, control }) => {
      const stream = await rawStream(`${url}/api/v1/events`, { method: 'GET' })
      await stream.next()
      control.close()
      expect(await stream.next()).toBeNull()
    })
  })

  test('is refused to more readers than the gateway serves', async () => {
    await withControl(async ({ url }) => {
      const open = () => rawStream(`${url}/api/v1/events`, { method: 'GET' })
      const streams = await Promise.all(Array.from({ length: 64 }, open))
      expect((await open()).status).toBe(503)
      streams.pop()?.drop()
      await expect.poll(() => eventsStatus(url)).toBe(200)
      for (const stream of streams) stream.drop()
    })
  })
})

describe('a reader that does not read', () => {
  const LINE = 'x'.repeat(64 * 1024)

  /** A reader of `path` that has stopped after the headers, and the way to let it read on. */
  async function stopped(url: string, path: string) {
    const res = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}${path}`, { agent: false }, resolve).on('error', reject).end()
    })
    let text = ''
    res.setEncoding('utf8').pause()
    res.on('error', () => undefined)
    const read = () => void res.on('data', (chunk: string) => (text += chunk)).resume()
    return { read, text: () => text, drop: () => res.destroy() }
  }

  /** Tells more and more until the sockets take nothing; returns how much was told. */
  async function tellUntilFull({ buffers }: Served, tell: (at: number) => void): Promise<number> {
    let told = 0
    for (let full = 0; full < 50; ) {
      tell(told++)
      await new Promise(resolve => setImmediate(resolve))
      full = buffers.bytes > LIMITS.clientBufferBytes - 2 * LINE.length ? full + 1 : 0
    }
    return told
  }
  const tellLine = ({ lines }: Served, at: number) => {
    for (const tell of lines) tell(`${at} ${LINE}`)
  }

  test('costs at most LIMITS.clientBufferBytes, and is told how many lines it missed', async () => {
    await withControl(async served => {
      const { url, buffers, lines } = served
      const reader = await stopped(url, '/api/v1/upstreams/files/logs?follow')
      const told = await tellUntilFull(served, at => tellLine(served, at))
      expect(buffers.bytes).toBeLessThanOrEqual(LIMITS.clientBufferBytes)
      reader.read()
      await expect.poll(reader.text).toContain('event: lost')
      for (const tell of lines) tell('after')
      await expect.poll(reader.text).toContain('"after"')
      const came = [...reader.text().matchAll(/^data: \{"line":"(\d+) x/gm)].map(([, at]) => Number(at))
      const lost = Number(/event: lost\ndata: \{"count":(\d+)\}/.exec(reader.text())?.[1])
      expect(came).toEqual(Array.from({ length: told - lost }, (_, at) => at))
      expect(lost).toBeGreaterThan(0)
      expect([buffers.bytes, buffers.count]).toEqual([0, 0])
      reader.drop()
    })
  })

  test('of events gets a new snapshot behind the gap, also a large one', async () => {
    await withControl(async served => {
      const { url, transitions } = served
      served.padding = 'p'.repeat(2 * LIMITS.clientBufferBytes)
      const reader = await stopped(url, '/api/v1/events')
      await tellUntilFull(served, at =>
        transitions.observe(status('files', { state: at % 2 ? 'ready' : 'backoff', reason: LINE })),
      )
      reader.read()
      await expect.poll(() => reader.text().match(/^event: snapshot$/gm)?.length).toBe(2)
      const order = [...reader.text().matchAll(/^event: (.*)$/gm)].map(([, event]) => event)
      expect([order[0], ...order.slice(-2)]).toEqual(['snapshot', 'lost', 'snapshot'])
      reader.drop()
    })
  })

  test('is cut off after LIMITS.clientStalledMs, whether it follows or asked once', async () => {
    await withControl(async served => {
      const { url, buffers, lines, time } = served
      const follows = await stopped(url, '/api/v1/upstreams/files/logs?follow')
      await tellUntilFull(served, at => tellLine(served, at))
      served.padding = 'p'.repeat(32 * 1024 * 1024)
      const asked = await stopped(url, '/api/v1/status')
      await expect.poll(() => buffers.count).toBe(2)
      time.advance(LIMITS.clientStalledMs)
      time.advance(LIMITS.clientStalledMs)
      await expect.poll(() => [buffers.bytes, buffers.count, lines.size]).toEqual([0, 0, 0])
      for (const reader of [follows, asked]) reader.drop()
    })
  })
})

async function eventsStatus(url: string): Promise<number> {
  const stream = await rawStream(`${url}/api/v1/events`, { method: 'GET' })
  stream.drop()
  return stream.status
}

describe('the log of a server', () => {
  test('is read as a whole, or followed line by line', async () => {
    await withControl(async ({ url, lines }) => {
      const read = await rawRequest(`${url}/api/v1/upstreams/files/logs`, { method: 'GET' })
      expect(JSON.parse(read.text)).toEqual({ lines: ['first', 'second'] })
      const stream = await rawStream(`${url}/api/v1/upstreams/files/logs?follow`, { method: 'GET' })
      expect([await stream.next(), await stream.next()]).toEqual(['{"line":"first"}', '{"line":"second"}'])
      for (const tell of lines) tell('third\nforged: yes')
      expect(JSON.parse((await stream.next()) ?? '')).toEqual({ line: 'third\nforged: yes' })
      stream.drop()
      await expect.poll(() => lines.size).toBe(0)
      const unknown = await rawRequest(`${url}/api/v1/upstreams/nobody/logs?follow=1`, { method: 'GET' })
      expect(unknown.status).toBe(404)
    })
  })
})

describe('the health of all servers together', () => {
  test.each([
    [[], 'healthy'],
    [['healthy', 'unknown'], 'healthy'],
    [['unknown'], 'healthy'],
    [['healthy', 'unhealthy'], 'degraded'],
    [['degraded', 'unknown'], 'degraded'],
    [['degraded', 'unhealthy'], 'degraded'],
    [['unhealthy', 'unknown'], 'unhealthy'],
  ] as const)('of %j is %s', (each, all) => {
    const upstreams = each.map((health, at) => status(`s${at}`, { health }))
    expect(healthOf({ upstreams } as unknown as GatewayStatus).health).toBe(all)
  })
})
