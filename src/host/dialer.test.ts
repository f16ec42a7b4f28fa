import { createServer, type Server } from 'node:http'
import { createServer as createSecure } from 'node:https'
import { type AddressInfo, createServer as createTcp, type LookupFunction, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { fullPort } from '../../test/kit/ports.js'
import { TestAuthority } from '../../test/kit/test-ca.js'
import { verifies } from '../../test/kit/verifies.js'
import { LIMITS } from '../model/index.js'
import type { Clock, HttpFault, HttpPool } from '../runtime/ports.js'
import { createClock } from './clock.js'
import { createDialer, type DialerOptions } from './dialer.js'

const GET = { method: 'GET', path: '/', headers: {}, headersTimeoutMs: 0 } as const
const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function listen(server: Server | ReturnType<typeof createTcp>): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

function pool(origin: string, options: DialerOptions = {}, connectTimeoutMs = 2_000): HttpPool {
  const made = createDialer(options).pool(origin, { connectTimeoutMs })
  closing.push(() => made.destroy())
  return made
}

type Got = { readonly status: number } | { readonly fault: HttpFault }

function get(from: HttpPool): Promise<Got> {
  return new Promise(resolve => {
    let status = 0
    from.request(GET, {
      headers: code => {
        status = code
      },
      data: () => undefined,
      // A little later: by then the pool knows that the connection is free again.
      end: () => void setTimeout(() => resolve({ status }), 5),
      fault: fault => resolve({ fault }),
    })
  })
}

async function faultOf(from: HttpPool): Promise<HttpFault> {
  const got = await get(from)
  if (!('fault' in got)) throw new Error('It was answered.')
  return got.fault
}

describe('a connection over TLS', () => {
  const authority = new TestAuthority()
  const trusted = { ca: authority.cert }
  const HOUR = 3_600_000

  async function secure(names: string[], times: { fromMs?: number; toMs?: number } = {}): Promise<string> {
    const server = createSecure(authority.issue({ names, ...times }), (_, res) => res.end('ok'))
    return `https://127.0.0.1:${await listen(server)}`
  }

  test('to a trusted name works', async () => {
    expect(await get(pool(await secure(['127.0.0.1']), trusted))).toEqual({ status: 200 })
  })

  verifies(
    ['F35', 'J132'],
    'that fails says why, each cause in words of its own, and was never sent',
    async () => {
      const expired = await secure(['127.0.0.1'], { fromMs: -2 * HOUR, toMs: -HOUR })
      const early = await secure(['127.0.0.1'], { fromMs: HOUR, toMs: 2 * HOUR })
      const elsewhere = await secure(['example.org'])
      const good = await secure(['127.0.0.1'])
      const plain = `https://127.0.0.1:${await listen(createServer((_, res) => res.end()))}`
      const rows: [string, DialerOptions, RegExp][] = [
        [expired, trusted, /^the certificate of 127\.0\.0\.1:\d+ has expired$/],
        [early, trusted, /^the certificate of 127\.0\.0\.1:\d+ is not valid yet$/],
        [elsewhere, trusted, /^the certificate of 127\.0\.0\.1:\d+ is for another name$/],
        [good, {}, /^the certificate of 127\.0\.0\.1:\d+ is not trusted: its issuer is not known here$/],
        [plain, trusted, /^TLS with 127\.0\.0\.1:\d+ failed: /],
      ]
      for (const [origin, options, message] of rows) {
        const fault = await faultOf(pool(origin, options))
        expect(fault, String(message)).toMatchObject({ phase: 'never-sent', reason: 'tls' })
        expect(fault.message).toMatch(message)
      }
    },
  )
})

describe('a name', () => {
  const missing = Object.assign(new Error('getaddrinfo ENOTFOUND server.test'), { code: 'ENOTFOUND' })

  /** The resolver of a test: what it says may change at any time. */
  function resolver(first: string | null) {
    const state = { address: first, asked: 0 }
    const lookup: LookupFunction = (_name, options, done) => {
      state.asked += 1
      const { address } = state
      if (address === null) return void done(missing, '', 4)
      if (options.all) done(null, [{ address, family: 4 }])
      else done(null, address, 4)
    }
    return { state, lookup }
  }

  verifies(['F29'], 'that is not known is asked for again at once, and a new address is used', async () => {
    const { state, lookup } = resolver(null)
    const counts = [0, 0]
    const serve = (index: number) =>
      createServer((_, res) => {
        counts[index] = (counts[index] ?? 0) + 1
        res.setHeader('connection', 'close')
        res.end()
      })
    const port = await listen(serve(0))
    const other = serve(1)
    await new Promise<void>(resolve => other.listen(port, '127.0.0.2', resolve))
    closing.push(() => other.close())
    const from = pool(`http://server.test:${port}`, { lookup })
    const fault = await faultOf(from)
    expect(fault).toMatchObject({ phase: 'never-sent', reason: 'dns' })
    expect(fault.message).toBe(`DNS does not know server.test:${port}`)
    state.address = '127.0.0.1'
    expect(await get(from)).toEqual({ status: 200 })
    state.address = '127.0.0.2'
    expect(await get(from)).toEqual({ status: 200 })
    expect([counts, state.asked]).toEqual([[1, 1], 3])
  })

  test('whose resolver never answers is given up with the connect timeout', async () => {
    const fault = await faultOf(pool('http://server.test:1', { lookup: () => undefined }, 200))
    expect(fault).toMatchObject({ phase: 'never-sent', reason: 'connect-timeout' })
  })
})

verifies(['F30', 'J132'], 'a SYN that nobody answers is given up in time, and was never sent', async () => {
  const { port, close } = await fullPort()
  closing.push(close)
  const before = performance.now()
  const fault = await faultOf(pool(`http://127.0.0.1:${port}`, {}, 1_000))
  expect(fault).toMatchObject({ phase: 'never-sent', reason: 'connect-timeout' })
  expect(fault.message).toBe(`no connection in time to 127.0.0.1:${port}`)
  expect(performance.now() - before).toBeLessThan(3_500)
})

verifies(['J132'], 'refused, unknown, silent and untrusted are four reasons', async () => {
  const gone = createTcp()
  const port = await listen(gone)
  closing.pop()?.()
  await expect.poll(async () => (await faultOf(pool(`http://127.0.0.1:${port}`))).reason).toBe('refused')
})

describe('a connection that is kept alive', () => {
  /** Counts sockets; each gets its number, its requests answered with these headers. */
  async function counting(headers: string, then?: (socket: Socket, requests: number) => void) {
    const state = { sockets: 0, closed: 0 }
    const server = createTcp(socket => {
      state.sockets += 1
      let requests = 0
      socket.on('error', () => undefined)
      socket.once('close', () => {
        state.closed += 1
      })
      socket.on('data', () => {
        requests += 1
        if (then && requests > 1) return then(socket, requests)
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 0\r\n${headers}\r\n`)
      })
    })
    return { state, origin: `http://127.0.0.1:${await listen(server)}` }
  }

  test('is used again, but not beyond what its peer says, less a margin', async () => {
    const long = await counting('keep-alive: timeout=60\r\n')
    const from = pool(long.origin)
    await get(from)
    await get(from)
    expect(long.state.sockets).toBe(1)
    const short = await counting('keep-alive: timeout=2\r\n')
    const careful = pool(short.origin)
    await get(careful)
    await expect.poll(() => short.state.closed).toBe(1)
    await get(careful)
    expect(short.state.sockets).toBe(2)
  })

  verifies(
    ['J132'],
    'and is reset with a request on it may have carried it: nothing proves the contrary',
    async () => {
      const { origin, state } = await counting('', socket => socket.resetAndDestroy())
      const from = pool(origin)
      expect(await get(from)).toEqual({ status: 200 })
      expect(await faultOf(from)).toMatchObject({ phase: 'unknown', reason: 'reset' })
      expect(state.sockets).toBe(1)
      expect(await get(from)).toEqual({ status: 200 })
    },
  )

  test('and was closed while idle is not used again', async () => {
    const sockets: Socket[] = []
    const server = createTcp(socket => {
      sockets.push(socket)
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))
    })
    const from = pool(`http://127.0.0.1:${await listen(server)}`)
    await get(from)
    const gone = new Promise(resolve => sockets[0]?.once('close', resolve))
    sockets[0]?.end()
    await gone
    for (let i = 0; i < 5; i += 1) expect(await get(from)).toEqual({ status: 200 })
    expect(sockets).toHaveLength(2)
  })
})

describe('the headers of an answer', () => {
  /** A server that says `first` at once, and goes on with one byte of `drip` every 20 ms. */
  async function dripping(first: string, drip: string) {
    const sockets: Socket[] = []
    const server = createTcp(socket => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        sockets.push(socket)
        socket.write(first)
        let at = 0
        const timer = setInterval(() => socket.write(drip[at++] ?? 'a'), 20)
        socket.once('close', () => clearInterval(timer))
      })
    })
    return { origin: `http://127.0.0.1:${await listen(server)}`, sockets }
  }

  verifies(['F34'], 'that drip are given up in bounded time, and their socket with them', async () => {
    const { origin, sockets } = await dripping('HTTP/1.1 200 OK\r\nx-a: ', '')
    const startedAt = performance.now()
    const fault = await faultOf(pool(origin, { headMs: 300 }))
    expect(fault).toMatchObject({ phase: 'unknown', reason: 'headers-timeout' })
    expect(fault.message).toMatch(
      /^127\.0\.0\.1:\d+ began an answer and did not finish its headers in 0\.3 s$/,
    )
    expect(performance.now() - startedAt).toBeGreaterThan(290)
    await expect.poll(() => sockets[0]?.destroyed).toBe(true)
  })

  test('may begin as late as the server likes, and what follows them may take its time', async () => {
    const server = createServer((_, res) => {
      setTimeout(() => {
        res.writeHead(200, { 'content-length': 4 })
        res.flushHeaders()
        let left = 4
        const timer = setInterval(() => {
          res.write('a')
          left -= 1
          if (left === 0) clearInterval(timer)
        }, 60)
      }, 250)
    })
    const from = pool(`http://127.0.0.1:${await listen(server)}`, { headMs: 100 })
    expect(await get(from)).toEqual({ status: 200 })
  })

  test('have LIMITS.answerHeadMs from their first byte; ones that come whole cost no timer', async () => {
    const asked: number[] = []
    const real = createClock()
    const clock: Clock = {
      now: () => real.now(),
      wallTime: () => real.wallTime(),
      after: (ms, fn) => {
        asked.push(ms)
        return real.after(ms, fn)
      },
    }
    const whole = createServer((_, res) => res.end('ok'))
    expect(await get(pool(`http://127.0.0.1:${await listen(whole)}`, { clock }))).toEqual({ status: 200 })
    expect(asked).toEqual([])
    const { origin } = await dripping('HTTP/1.1 200 OK\r\ncontent-len', 'gth: 0\r\n\r\n')
    expect(await get(pool(origin, { clock }))).toEqual({ status: 200 })
    expect(asked).toEqual([LIMITS.answerHeadMs])
  })
})
