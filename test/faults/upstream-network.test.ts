import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, describe, expect } from 'vitest'
import { LIMITS } from '../../src/model/index.js'
import { startFake, withFakes } from '../kit/fake-mcp.js'
import { closedPort, fullPort } from '../kit/ports.js'
import { freshFolder } from '../kit/run-folder.js'
import { expectWithin } from '../kit/slowness.js'
import { TestAuthority } from '../kit/test-ca.js'
import { verifies } from '../kit/verifies.js'
import { besideGood, isCall, scripted, tunnel } from './upstream-shared.js'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

function track<T extends { close(): void }>(made: T): T {
  closing.push(() => made.close())
  return made
}

describe('a server that cannot be reached', () => {
  verifies(
    ['F28', 'J132'],
    'because nobody listens was sent nothing, is said to be so at once, and is back when somebody does',
    async () => {
      const fake = await startFake({ down: true, script: { builtins: ['count'] } })
      try {
        await besideGood({ ...fake.entry }, async ({ gateway, call }) => {
          await gateway.waitForState('bad', 'backoff')
          expect((await gateway.upstream('bad')).reason).toMatch(/^connection refused by 127\.0\.0\.1:\d+$/)
          const { failure, ms } = await call('count')
          expect(failure).toMatchObject({ kind: 'unavailable' })
          expect(String(failure['reason'])).toContain('connection refused by')
          expect(ms).toBeLessThan(6_000)
          await fake.restart()
          await gateway.waitForState('bad', 'ready')
          expect((await call('count')).failure).toEqual({})
        })
      } finally {
        await fake.stop()
      }
    },
  )

  verifies(
    ['F29', 'J132'],
    'because its name is unknown is said to be so, and is asked for again',
    async () => {
      await besideGood(
        { type: 'http', url: 'http://no-such-host.invalid/mcp' },
        async ({ gateway, call }) => {
          const { reason, state } = await gateway
            .waitFor(status => (status.upstreams[0]?.attempts ?? 0) >= 2)
            .then(({ upstreams }) => upstreams[0] as never as { reason: string; state: string })
          expect(['backoff', 'starting']).toContain(state)
          expect(reason).toMatch(/DNS (does not know|gave no answer for) no-such-host\.invalid/)
          expect((await call('x')).failure).toMatchObject({ kind: 'unavailable' })
        },
      )
    },
  )

  verifies(['F30'], 'because nobody answers its SYN is given up after the connect timeout', async () => {
    const { port } = track(await fullPort())
    await besideGood({ type: 'http', url: `http://127.0.0.1:${port}/mcp` }, async ({ gateway }) => {
      await gateway.waitForState('bad', 'backoff')
      expect((await gateway.upstream('bad')).reason).toBe(`no connection in time to 127.0.0.1:${port}`)
    })
  })
})

verifies(
  ['F31'],
  'a server whose connection is half open costs the calls that find it, and none after them',
  async () => {
    await withFakes([{ script: { builtins: ['count'] } }], async fake => {
      const wire = track(await tunnel(fake.url ?? ''))
      const bad = { type: 'http', url: wire.url, holdfast: { requestTimeout: '1s' } }
      await besideGood(bad, async ({ call }) => {
        expect((await call('count')).failure).toEqual({})
        const before = [...wire.sockets]
        wire.swallow()
        const { failure, ms } = await call('count')
        expect(failure).toMatchObject({ kind: 'timeout', upstream: 'bad' })
        await expectWithin(ms, 2_500)
        wire.heal()
        await expect.poll(async () => (await call('count')).failure, { timeout: 15_000 }).toEqual({})
        // The idle rule of one call destroyed its socket; the stream for notifications may be another.
        expect([...wire.sockets].filter(socket => before.includes(socket)).length).toBeLessThan(before.length)
        expect(fake.records.runs('count')).toBe(2)
      })
    })
  },
)

describe('a stream that breaks before the answer', () => {
  for (const [how, id] of [
    ['by a reset', 'F32'],
    ['with a clean end', 'F33'],
  ] as const) {
    const body = async () => {
      const server = track(
        await scripted((request, res) => {
          if (!isCall(request)) return false
          res.writeHead(200, { 'content-type': 'text/event-stream' }).write(': begun\n\n')
          setTimeout(() => (id === 'F32' ? res.socket?.resetAndDestroy() : res.end()), 50)
          return true
        }),
      )
      await besideGood({ type: 'http', url: server.url }, async ({ gateway, call }) => {
        const { result, failure } = await call('do')
        expect(failure).toMatchObject({ kind: 'outcome_unknown', upstream: 'bad' })
        expect(result.content[0]?.text).toMatch(/may (or may not )?have run/)
        expect(server.runs()).toBe(1)
        expect((await call('echo')).failure).toEqual({})
        expect((await gateway.upstream('bad')).state).toBe('ready')
      })
    }
    if (id === 'F32')
      verifies(['F32', 'J130'], `${how} leaves the outcome of a call unknown: it is not sent again`, body)
    else verifies(['F33', 'J130'], `${how} leaves the outcome of a call unknown: it is not sent again`, body)
  }

  verifies(
    ['F33'],
    'and whose events were numbered is taken up again once, behind the last of them',
    async () => {
      let taken = 0
      let answers = ''
      const server = track(
        await scripted((request, res) => {
          if (request.verb === 'GET' && request.headers['last-event-id'] === 'e1') {
            taken += 1
            res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`id: e2\ndata: ${answers}\n\n`)
            return true
          }
          if (!isCall(request)) return false
          answers = JSON.stringify({ jsonrpc: '2.0', id: request.id, result: { content: [] } })
          const first = '{"jsonrpc":"2.0","method":"notifications/x"}'
          res
            .writeHead(200, { 'content-type': 'text/event-stream' })
            .end(`retry: 60\nid: e1\ndata: ${first}\n\n`)
          return true
        }),
      )
      await besideGood({ type: 'http', url: server.url }, async ({ call }) => {
        expect((await call('do')).failure).toEqual({})
        expect([server.runs(), taken]).toEqual([1, 1])
      })
    },
  )
})

verifies(
  ['F34'],
  'a server that drips its headers or its body is given up by the idle rule, and keeps no socket',
  async () => {
    let dripping = 0
    const drip = (res: ServerResponse, write: (at: number) => void) => {
      dripping += 1
      let at = 0
      const timer = setInterval(() => write(at++), 100)
      res.socket?.once('close', () => {
        dripping -= 1
        clearInterval(timer)
      })
    }
    const head = `HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(1_000)}`
    const server = track(
      await scripted((request, res) => {
        if (request.tool === 'do') drip(res, at => res.socket?.write(head[at] ?? 'a'))
        else if (request.tool === 'echo') {
          res.writeHead(200, { 'content-type': 'application/json' })
          drip(res, () => res.write(' '))
        } else return false
        return true
      }),
    )
    const bad = { type: 'http', url: server.url, holdfast: { requestTimeout: '1s' } }
    await besideGood(bad, async ({ gateway, call }) => {
      for (const tool of ['do', 'echo']) {
        const { failure, ms } = await call(tool)
        expect(failure, tool).toMatchObject({ kind: 'timeout', upstream: 'bad' })
        await expectWithin(ms, 2_500)
      }
      await expect.poll(() => dripping).toBe(0)
      // A cancelled call keeps its place for a grace.
      const inFlight = async () => (await gateway.upstream('bad')).inFlight
      await expect.poll(inFlight, { timeout: LIMITS.cancelGraceMs + 2_000 }).toBe(0)
    })
  },
)

describe('a server over TLS', () => {
  const authority = new TestAuthority()
  const file = join(freshFolder('ca'), 'ca.pem')
  writeFileSync(file, authority.cert)
  const trusting = { env: { NODE_EXTRA_CA_CERTS: file } }
  const HOUR = 3_600_000

  const rows = [
    ['has expired', { names: ['127.0.0.1'], fromMs: -2 * HOUR, toMs: -HOUR }, trusting],
    ['is for another name', { names: ['example.org'] }, trusting],
    ['is not trusted', { names: ['127.0.0.1'] }, undefined],
  ] as const
  for (const [what, wanted, options] of rows) {
    verifies(
      ['F35', 'J132'],
      `whose certificate ${what} is misconfigured, with that reason, and is not tried again and again`,
      async () => {
        const server = track(await scripted(() => false, authority.issue(wanted)))
        await besideGood(
          { type: 'http', url: server.url },
          async ({ gateway, call }) => {
            const { reason, nextAttemptAt } = await gateway.waitForState('bad', 'misconfigured')
            expect(reason).toMatch(new RegExp(`^the certificate of 127\\.0\\.0\\.1:\\d+ ${what}`))
            expect(Date.parse(String(nextAttemptAt)) - Date.now()).toBeGreaterThan(60_000)
            expect(String((await call('do')).failure['reason'])).toContain(what)
            expect(server.seen).toEqual([])
          },
          options,
        )
      },
    )
  }

  verifies(['F35'], 'that does not speak it is misconfigured, and one that does works', async () => {
    const plain = track(await scripted(() => false))
    await besideGood({ type: 'http', url: plain.url.replace('http:', 'https:') }, async ({ gateway }) => {
      const { reason } = await gateway.waitForState('bad', 'misconfigured')
      expect(reason).toMatch(/^TLS with 127\.0\.0\.1:\d+ failed: /)
    })
    const good = track(await scripted(() => false, authority.issue({ names: ['127.0.0.1'] })))
    await besideGood(
      { type: 'http', url: good.url },
      async ({ call }) => {
        expect((await call('do')).failure).toEqual({})
      },
      trusting,
    )
  })
})

verifies(
  ['F28'],
  'a port that nobody has is refused within the time of a call, however often it is called',
  async () => {
    await besideGood(
      { type: 'http', url: `http://127.0.0.1:${await closedPort()}/mcp` },
      async ({ call }) => {
        for (let i = 0; i < 20; i += 1) {
          const { failure, ms } = await call('x')
          expect(failure).toMatchObject({ kind: 'unavailable' })
          expect(ms).toBeLessThan(6_000)
        }
      },
    )
  },
)
