import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect } from 'vitest'
import { missingIn } from '../acceptance/shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import { residentBytes } from '../kit/memory.js'
import { verifies } from '../kit/verifies.js'
import { besideGood, isCall, type Odd, type Scripted, scripted, send } from './upstream-shared.js'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function serve(odd: Odd): Promise<Scripted> {
  const server = await scripted(odd)
  closing.push(() => server.close())
  return server
}

const at = (server: Scripted, holdfast = {}) => ({ type: 'http', url: server.url, holdfast })
const JSON_TYPE = { 'content-type': 'application/json' }

describe('a call that is refused', () => {
  verifies(
    ['F40', 'J124'],
    'for want of a scope says which one, and the server stays in service for everybody else',
    async () => {
      const server = await serve((request, res) => {
        if (!isCall(request)) return false
        const challenge = 'Bearer error="insufficient_scope", scope="files:write"'
        res.writeHead(403, { 'www-authenticate': challenge }).end('no')
        return true
      })
      await besideGood(at(server), async ({ gateway, call }) => {
        for (let i = 0; i < 12; i += 1) {
          const { failure, result } = await call('do')
          expect(failure).toMatchObject({ kind: 'denied', upstream: 'bad' })
          expect(failure['reason']).toBe(
            'HTTP 403 from POST /mcp: insufficient_scope, needs the scope files:write',
          )
          expect(result.content[0]?.text).toContain('was not processed')
          expect((await call('echo')).failure).toEqual({})
        }
        expect(server.runs()).toBe(12)
        const { state, breaker } = await gateway.upstream('bad')
        expect([state, breaker]).toEqual(['ready', 'closed'])
      })
    },
  )

  verifies(['J122'], 'with 401 says what the server wants', async () => {
    const server = await serve((request, res) => {
      if (!isCall(request)) return false
      res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      return true
    })
    await besideGood(at(server), async ({ call }) => {
      const { failure } = await call('do')
      expect(failure).toMatchObject({ kind: 'auth_required', upstream: 'bad' })
      expect(String(failure['reason'])).toContain('invalid_token')
    })
  })

  verifies(['J120', 'J121'], 'with 429 or 503 carries the time that the server asked for', async () => {
    for (const status of [429, 503]) {
      let asked = 0
      const server = await serve((request, res) => {
        if (!isCall(request) || ++asked > 1) return false
        const error = { code: -32000, message: 'busy' }
        res.writeHead(status, { ...JSON_TYPE, 'retry-after': '3000' })
        res.end(JSON.stringify({ jsonrpc: '2.0', id: request.id, error }))
        return true
      })
      await besideGood(at(server, { requestTimeout: '3s', totalTimeout: '5s' }), async ({ call }) => {
        const { failure } = await call('do')
        expect(failure).toMatchObject({ upstream: 'bad', retryAfterMs: 300_000 })
        expect(failure['kind']).toBe(status === 429 ? 'overloaded' : 'outcome_unknown')
        expect(server.runs()).toBe(1)
      })
    }
  })
})

describe('a session that the server lost', () => {
  const ways: [what: string, status: number, body: string][] = [
    ['with 404', 404, ''],
    [
      'with 404 and -32600',
      404,
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session terminated"}}',
    ],
    ['with 400', 400, '{"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}'],
    ['with 503', 503, 'session unknown'],
  ]
  for (const [what, status, body] of ways) {
    verifies(
      ['F41', 'J125', 'J126'],
      `and tells ${what}, is opened anew once, for all who called`,
      async () => {
        let lost = ''
        let sessions = 0
        const server = await serve((request, res) => {
          if (request.verb === 'POST' && request.method === 'initialize') {
            expect(request.headers['mcp-session-id']).toBeUndefined()
            sessions += 1
            const result = {
              protocolVersion: '2025-11-25',
              capabilities: { tools: {} },
              serverInfo: { name: 'odd', version: '1' },
            }
            send(res, request.id as number, result, { 'mcp-session-id': `s${sessions}` })
            return true
          }
          if (request.verb !== 'POST' || request.headers['mcp-session-id'] !== lost) return false
          res.writeHead(status, JSON_TYPE).end(body)
          return true
        })
        await besideGood(at(server), async ({ gateway, call }) => {
          lost = 's1'
          const told = await Promise.all(Array.from({ length: 8 }, () => call('do')))
          // The server said that it ran none of them: those that the budget for retries allows are sent again.
          const kinds = told.map(({ failure }) => failure['kind'])
          expect(kinds).not.toContain('outcome_unknown')
          expect(kinds).toContain(undefined)
          await gateway.waitForState('bad', 'ready')
          expect((await call('do')).failure).toEqual({})
          expect(sessions).toBe(2)
        })
      },
    )
  }

  verifies(['J127'], 'and tells at its GET stream, is opened anew without a call', async () => {
    let sessions = 0
    let gets = 0
    const server = await serve((request, res) => {
      if (request.method === 'initialize') sessions += 1
      if (request.verb !== 'GET') return false
      gets += 1
      if (gets === 1)
        res.writeHead(200, { 'content-type': 'text/event-stream' }).end('retry: 500\ndata: {}\n\n')
      else if (gets === 2) res.writeHead(404).end('Session not found')
      else res.writeHead(405).end()
      return true
    })
    await besideGood(at(server), async ({ gateway, call }) => {
      await expect.poll(() => sessions).toBe(2)
      await gateway.waitForState('bad', 'ready')
      expect((await call('do')).failure).toEqual({})
    })
  })
})

describe('an address that is no MCP server', () => {
  verifies(
    ['J128'],
    'because the path is wrong is misconfigured, with the path, and is not asked again and again',
    async () => {
      const server = await serve((_, res) => res.writeHead(404).end('nothing here') && true)
      const bad = { type: 'http', url: `${server.origin}/wrong/path?key=s3cret` }
      await besideGood(bad, async ({ gateway }) => {
        const { reason, nextAttemptAt } = await gateway.waitForState('bad', 'misconfigured')
        expect(reason).toBe(
          'HTTP 404 from POST /wrong/path: nothing answers at this path; check the path of "url"',
        )
        expect(Date.parse(String(nextAttemptAt)) - Date.now()).toBeGreaterThan(60_000)
        expect(server.seen.length).toBeLessThanOrEqual(2)
      })
    },
  )

  for (const status of [405, 406, 415]) {
    verifies(
      ['F42'],
      `and says ${status} to everything is asked in both eras once, and backs off with that reason`,
      async () => {
        const server = await serve((_, res) => res.writeHead(status).end() && true)
        await besideGood(at(server), async ({ gateway }) => {
          const { reason } = await gateway.waitForState('bad', 'backoff')
          expect(reason).toContain(`HTTP ${status}`)
          const methods = server.seen.map(({ method }) => method)
          expect(methods.slice(0, 2)).toEqual(['server/discover', 'initialize'])
        })
      },
    )
  }

  verifies(
    ['F42', 'J129'],
    'but a page for people is never healthy, and its first 200 bytes are shown',
    async () => {
      const page = `<!doctype html><h1>Sign in</h1>${'x'.repeat(1_000)}`
      const server = await serve((_, res) => {
        res.writeHead(200, { 'content-type': 'text/html' }).end(page)
        return true
      })
      await besideGood(at(server), async ({ gateway, client }) => {
        const { reason } = await gateway.waitForState('bad', 'backoff')
        expect(reason).toContain('answered text/html instead of MCP: <!doctype html><h1>Sign in</h1>')
        expect(String(reason).length).toBeLessThan(400)
        expect(missingIn(await client.listTools()).map(({ upstream }) => upstream)).toEqual(['bad'])
      })
    },
  )

  verifies(
    ['F42', 'J129', 'J133'],
    'any more: a call gets a page, and after ten such answers in a minute the handshake has to succeed again',
    async () => {
      let portal = false
      const server = await serve((request, res) => {
        if (!portal || request.verb !== 'POST') return false
        res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Sign in</h1>')
        return true
      })
      await besideGood(at(server), async ({ gateway, call }) => {
        portal = true
        const { failure } = await call('do')
        expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'bad' })
        expect(String(failure['reason'])).toContain('text/html instead of MCP: <h1>Sign in</h1>')
        for (let i = 0; i < 12 && (await gateway.upstream('bad')).state === 'ready'; i += 1) await call('do')
        await gateway.waitFor(status => status.upstreams[0]?.health !== 'healthy')
        portal = false
        const back = async () => (await call('do')).failure
        await expect.poll(back, { timeout: 15_000, interval: 200 }).toEqual({})
      })
    },
  )
})

describe('a redirect of a server', () => {
  verifies(
    ['F43', 'J131'],
    'to another origin, or round in a circle, is not followed; nothing secret leaves, and the method is kept',
    async () => {
      const other = await serve(() => false)
      const headers = { Authorization: 'Bearer s3cret', 'X-Own': 's3cret' }
      const away = await serve((request, res) => {
        if (request.verb !== 'POST') return false
        res.writeHead(307, { location: `${other.url}?key=s3cret` }).end()
        return true
      })
      await besideGood({ type: 'http', url: away.url, headers }, async ({ gateway }) => {
        const { reason } = await gateway.waitForState('bad', 'backoff')
        expect(reason).toBe(`HTTP 307 from POST /mcp: a redirect to ${other.origin} was not followed`)
        expect(other.seen).toEqual([])
      })
      const circle = await serve((_, res) => res.writeHead(308, { location: '/mcp' }).end() && true)
      await besideGood(at(circle), async ({ gateway }) => {
        expect((await gateway.waitForState('bad', 'backoff')).reason).toContain('HTTP 308')
        expect(new Set(circle.seen.map(({ verb }) => verb))).toEqual(new Set(['POST']))
      })
      const slash = await serve((request, res) => {
        if (request.url !== '/mcp') return false
        res.writeHead(307, { location: '/mcp/' }).end()
        return true
      })
      await besideGood({ ...at(slash), headers }, async ({ call }) => {
        expect((await call('do')).failure).toEqual({})
        const sent = slash.seen.find(request => isCall(request) && request.url === '/mcp/')
        expect(sent).toMatchObject({ verb: 'POST', headers: { authorization: 'Bearer s3cret' } })
      })
    },
  )
})

describe('an answer that is no answer', () => {
  const odd: [what: string, id: 'F44' | 'J130' | 'J133', odd: Odd, reason: RegExp][] = [
    [
      'because it is a bomb of 64 MB in 64 kB',
      'F44',
      (_, res) => {
        const bomb = gzipSync(Buffer.alloc(64 << 20, 0x20))
        return !!res.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(bomb)
      },
      /content-encoding gzip, which was not asked for/,
    ],
    [
      'because its length is a lie',
      'F44',
      (_, res) =>
        !!res.socket?.end(
          'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{}',
        ),
      /connection closed by|connection reset by/,
    ],
    [
      'because its chunks are garbage',
      'F44',
      (_, res) =>
        !!res.socket?.end(
          'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
        ),
      /sent broken HTTP/,
    ],
    [
      'because it is 202 and nothing more',
      'J130',
      (_, res) => !!res.writeHead(202).end(),
      /answered 202 without an answer/,
    ],
    [
      'because it is JSON of another shape',
      'J133',
      (_, res) => !!res.writeHead(200, JSON_TYPE).end('{"status":"ok"}'),
      /sent an invalid message/,
    ],
    [
      'because it answers another request',
      'J133',
      (_, res) => !!res.writeHead(200, JSON_TYPE).end('{"jsonrpc":"2.0","id":987654,"result":{}}'),
      /answered with another id: 987654/,
    ],
  ]
  const check = (one: Odd, reason: RegExp) => async () => {
    const server = await serve((request, res) => isCall(request) && one(request, res))
    await besideGood(at(server), async ({ gateway, call }) => {
      const before = residentBytes(gateway.pid)
      const { failure } = await call('do')
      expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'bad' })
      expect(String(failure['reason'])).toMatch(reason)
      expect(server.runs()).toBe(1)
      expect((await call('echo')).failure).toEqual({})
      expect(residentBytes(gateway.pid) - before).toBeLessThan(64 << 20)
    })
  }
  for (const [what, id, one, reason] of odd) {
    if (id === 'F44')
      verifies(['F44'], `${what} leaves the outcome of that call unknown`, check(one, reason), 30_000)
    else if (id === 'J130')
      verifies(['J130'], `${what} leaves the outcome of that call unknown`, check(one, reason), 30_000)
    else verifies(['J133'], `${what} leaves the outcome of that call unknown`, check(one, reason), 30_000)
  }
})

describe('a server that fails', () => {
  verifies(['J118'], 'from the first contact leaves starting with the cause, and comes back', async () => {
    for (const status of [500, 503]) {
      let broken = true
      const server = await serve((_, res) => broken && !!res.writeHead(status).end())
      await besideGood(at(server), async ({ gateway, call }) => {
        expect((await gateway.waitForState('bad', 'backoff')).reason).toBe(`HTTP ${status} from POST /mcp`)
        broken = false
        await gateway.waitForState('bad', 'ready')
        expect((await call('do')).failure).toEqual({})
      })
    }
  })

  verifies(['J119', 'F36'], 'with a 5xx on a call is asked once: the outcome is unknown', async () => {
    for (const status of [500, 502, 503, 504]) {
      const server = await serve((request, res) => isCall(request) && !!res.writeHead(status).end())
      await besideGood(at(server), async ({ call }) => {
        const { failure } = await call('do')
        expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'bad' })
        expect(String(failure['reason'])).toContain(`HTTP ${status} from POST /mcp`)
        expect(server.runs()).toBe(1)
      })
    }
  })

  verifies(
    ['J122'],
    'for want of a sign-in says so, with what it wants, and is not asked again and again',
    async () => {
      const server = await serve((_, res) => {
        res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token", scope="mcp"' }).end()
        return true
      })
      await besideGood(at(server), async ({ gateway }) => {
        const { reason, action } = await gateway.waitForState('bad', 'auth_required')
        expect(reason).toMatch(
          /^it wants a sign-in \(HTTP 401 from POST \/mcp: invalid_token, needs the scope mcp\)/,
        )
        expect(action).toBe('sign_in')
        expect(server.seen.length).toBeLessThanOrEqual(2)
      })
    },
  )
})

verifies(
  ['F42'],
  'a server that refuses the newer way of asking is asked in the older one, once',
  async () => {
    for (const status of [400, 404, 405]) {
      const server = await serve((request, res) => {
        if (request.method !== 'server/discover') return false
        res.writeHead(status).end()
        return true
      })
      await besideGood(at(server), async ({ call }) => {
        expect((await call('do')).failure).toEqual({})
        expect(server.seen.filter(({ method }) => method === 'server/discover')).toHaveLength(1)
      })
    }
  },
)

verifies(
  ['J132'],
  'a keep-alive connection that is reset with a call on it leaves its outcome unknown, and the next call gets another',
  async () => {
    await withFakes(
      [{ script: { faults: [{ on: 'tools/call', tool: 'count', calls: 2, do: { kind: 'reset' } }] } }],
      async fake => {
        await besideGood({ ...fake.entry }, async ({ call }) => {
          expect((await call('count')).failure).toEqual({})
          expect((await call('count')).failure).toMatchObject({ kind: 'outcome_unknown' })
          expect((await call('count')).failure).toEqual({})
          expect(fake.records.runs('count')).toBe(3)
        })
      },
    )
  },
)
