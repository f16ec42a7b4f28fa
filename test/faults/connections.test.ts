import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ProcessGauge } from '../../src/host/index.js'
import { LIMITS } from '../../src/model/index.js'
import { createRequestHandler, type Listener, type ListenOptions, openListener } from '../../src/server.js'
import { withGateway } from '../kit/gateway.js'
import { MCP_HEADERS, rawPost, rawRequest } from '../kit/raw-http.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'

/** What one socket was sent, and whether it was closed. */
interface Peer {
  readonly socket: Socket
  readonly text: string
  readonly closed: boolean
}

function dial(port: number, first = ''): Promise<Peer> {
  const socket = connect(port, '127.0.0.1')
  const peer = { socket, text: '', closed: false }
  socket.setEncoding('utf8').on('data', (text: string) => {
    peer.text += text
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    peer.closed = true
  })
  return new Promise(resolve => {
    socket.once('close', () => resolve(peer))
    socket.once('connect', () => {
      if (first !== '') socket.write(first)
      resolve(peer)
    })
  })
}

/** The listener alone: every path answers at once, `/mcp` after its body. */
async function withListener(
  options: Partial<ListenOptions>,
  use: (listener: Listener, served: { count: number }) => Promise<void>,
): Promise<void> {
  const served = { count: 0 }
  const handler = createRequestHandler({
    guard: () => true,
    knowsServer: () => true,
    mcp: (req, res) => {
      served.count += 1
      req.resume().on('end', () => res.end('served'))
    },
    control: (_req, res) => {
      res.end('control')
      return true
    },
  })
  const listener = await openListener(handler, { host: '127.0.0.1', port: 0, ...options }, () => undefined)
  try {
    await use(listener, served)
  } finally {
    listener.destroy()
    await listener.close()
  }
}

const health = async (port: number) =>
  (await rawRequest(`http://127.0.0.1:${port}/healthz`, { method: 'GET', timeoutMs: 3_000 })).status
const open = (peers: readonly Peer[]) => peers.filter(({ closed }) => !closed).length
const hangUp = (peers: readonly Peer[]) => {
  for (const { socket } of peers) socket.destroy()
}

describe('slow clients', () => {
  verifies(
    ['F53'],
    'five hundred that send their headers for ever are sent away, and others are served',
    async () => {
      await withListener({ headersMs: 1_000 }, async ({ port }, served) => {
        const half = 'POST /mcp HTTP/1.1\r\nhost: x\r\nx-a'
        const peers = await Promise.all(Array.from({ length: 500 }, () => dial(port, half)))
        const drip = setInterval(() => {
          for (const { socket } of peers) if (socket.writable) socket.write('a')
        }, 100)
        expect(await health(port)).toBe(200)
        expect((await rawPost(`http://127.0.0.1:${port}/mcp`, '{}')).text).toBe('served')
        await expect.poll(() => open(peers), { timeout: 10_000 }).toBe(0)
        clearInterval(drip)
        expect(peers.every(({ text }) => text.startsWith('HTTP/1.1 408 '))).toBe(true)
        expect(served.count).toBe(1)
      })
    },
  )

  verifies(['F53'], 'that never end their body are sent away', async () => {
    await withListener({ headersMs: 500, requestMs: 1_500 }, async ({ port }) => {
      const head = 'POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n'
      const peers = await Promise.all(Array.from({ length: 100 }, () => dial(port, head)))
      const drip = setInterval(() => {
        for (const { socket } of peers) if (socket.writable) socket.write('a')
      }, 100)
      await delay(1_000)
      expect(open(peers)).toBe(100)
      expect(await health(port)).toBe(200)
      await expect.poll(() => open(peers), { timeout: 10_000 }).toBe(0)
      clearInterval(drip)
      expect(peers.every(({ text }) => text.startsWith('HTTP/1.1 408 '))).toBe(true)
    })
  })

  verifies(['F53'], 'that wait long for an answer are not', async () => {
    const wait = 2_500
    const options = { host: '127.0.0.1', port: 0, headersMs: 500, requestMs: 500 }
    const listener = await openListener(
      (_req, res) => void setTimeout(() => res.end('late'), wait),
      options,
      () => undefined,
    )
    const answer = await rawPost(`${listener.url}/mcp`, '{}')
    expect([answer.status, answer.text]).toEqual([200, 'late'])
    await listener.close()
  })
})

describe('large headers', () => {
  test('are refused over LIMITS.headerBytes', async () => {
    await withListener({}, async ({ port }) => {
      const url = `http://127.0.0.1:${port}/mcp`
      const send = (bytes: number) => rawPost(url, '{}', { 'x-padding': 'x'.repeat(bytes) })
      expect((await send(LIMITS.headerBytes - 1_000)).status).toBe(200)
      expect((await send(LIMITS.headerBytes)).status).toBe(431)
    })
  })
})

describe('too many connections', () => {
  verifies(['F53'], 'make the oldest go that never sent a request', async () => {
    await withListener({ maxConnections: 20 }, async (listener, served) => {
      const { port } = listener
      const silent = await Promise.all(Array.from({ length: 20 }, () => dial(port)))
      await expect.poll(() => listener.connections).toBe(20)
      await delay(1_050)
      for (let i = 0; i < 10; i += 1) {
        expect((await rawPost(`http://127.0.0.1:${port}/mcp`, '{}')).text).toBe('served')
      }
      expect(served.count).toBe(10)
      expect(open(silent)).toBeLessThan(20)
      hangUp(silent)
    })
  })

  verifies(
    ['F53'],
    'that all are in use leave a few for health and status, and are refused elsewhere',
    async () => {
      await withListener({ maxConnections: 20, random: () => 0.5 }, async (listener, served) => {
        const { port } = listener
        const get = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'
        const used = await Promise.all(Array.from({ length: 20 }, () => dial(port, get)))
        await expect.poll(() => used.every(({ text }) => text.endsWith('control'))).toBe(true)
        const refused = await rawPost(
          `http://127.0.0.1:${port}/mcp`,
          '{"jsonrpc":"2.0","id":1,"method":"ping"}',
        )
        expect([refused.status, refused.headers['retry-after'], refused.headers.connection]).toEqual([
          503,
          '3',
          'close',
        ])
        expect(JSON.parse(refused.text)).toMatchObject({
          jsonrpc: '2.0',
          error: { code: 42901, data: { kind: 'overloaded' } },
        })
        for (const path of ['/healthz', '/readyz', '/api/v1/status']) {
          expect((await rawRequest(`http://127.0.0.1:${port}${path}`, { method: 'GET' })).status).toBe(200)
        }
        expect(served.count).toBe(0)
        // Those who reach it take no more than LIMITS.spareConnections, and status still answers.
        const flood = await Promise.all(Array.from({ length: LIMITS.spareConnections * 5 }, () => dial(port)))
        await expect.poll(() => listener.connections).toBeLessThanOrEqual(20 + LIMITS.spareConnections)
        expect(await health(port)).toBe(200)
        expect(open(used)).toBe(20)
        hangUp([...used, ...flood])
        await expect.poll(() => listener.connections).toBe(0)
        expect((await rawPost(`http://127.0.0.1:${port}/mcp`, '{}')).text).toBe('served')
      })
    },
  )

  verifies(['F53'], 'of five thousand that say nothing do not keep anybody from being served', async () => {
    const count = Math.min(5_000, Math.floor((new ProcessGauge().fdLimit ?? 10_000) * 0.6))
    await withGateway({ mcpServers: {} }, async gateway => {
      const port = Number(new URL(gateway.url).port)
      const peers: Peer[] = []
      for (let i = 0; i < count; i += 250) {
        peers.push(...(await Promise.all(Array.from({ length: 250 }, () => dial(port)))))
      }
      const started = performance.now()
      expect(await health(port)).toBe(200)
      expect((await gateway.status()).gateway).toHaveProperty('load')
      const hello = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
      expect((await rawPost(gateway.url, hello, MCP_HEADERS)).status).toBe(200)
      await expectWithin(performance.now() - started, 2_000)
      hangUp(peers)
      expect(await health(port)).toBe(200)
    })
  })
})

test('the bounds on connections are what they are said to be', () => {
  expect([LIMITS.connections, LIMITS.headersMs, LIMITS.requestMs, LIMITS.connectionIdleMs]).toEqual([
    10_000, 20_000, 60_000, 75_000,
  ])
})

describe('an idle connection', () => {
  test('is kept for LIMITS.connectionIdleMs, and for a short time under pressure', async () => {
    await withListener({}, async listener => {
      const get = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'
      const first = await dial(listener.port, get)
      await expect.poll(() => first.text).toContain(`timeout=${LIMITS.connectionIdleMs / 1_000}`)
      listener.shortenIdle(true)
      const second = await dial(listener.port, get)
      await expect.poll(() => second.text).toContain('timeout=5')
      hangUp([first, second])
    })
  })
})
