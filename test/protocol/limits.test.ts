import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { createHttpFace } from '../../src/downstream/index.js'
import { KeepAlive } from '../../src/downstream/transports/keep-alive.js'
import { nodeHost } from '../../src/host/index.js'
import { LIMITS } from '../../src/model/index.js'
import { StderrTails } from '../../src/observe/index.js'
import { Listing } from '../../src/runtime/listing.js'
import type { Clock } from '../../src/runtime/ports.js'
import { Store } from '../../src/runtime/store.js'
import { StdinQueue } from '../../src/upstream/transports/stdin-queue.js'
import { callTool, failureOf, missingIn, withClient } from '../acceptance/shared.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { MCP_HEADERS, rawPost, rawRequest, rawStream } from '../kit/raw-http.js'
import { offering, view } from '../kit/views.js'

const HELLO =
  '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'

/** A clock that is set by hand; timers run when their time is reached. */
function manualClock() {
  let now = 0
  const timers: { at: number; fn: () => void; over: boolean }[] = []
  const clock: Clock = {
    now: () => now,
    wallTime: () => now,
    after: (ms, fn) => {
      const timer = { at: now + ms, fn, over: false }
      timers.push(timer)
      const cancel = () => {
        timer.over = true
      }
      return { cancel }
    },
  }
  const advance = (ms: number) => {
    now += ms
    for (const timer of [...timers]) {
      if (timer.over || timer.at > now) continue
      timer.over = true
      timer.fn()
    }
  }
  return { clock, advance }
}

describe('the bound on', () => {
  test('a client message (LIMITS.bodyBytes) is 413, and the gateway goes on', async () => {
    await withGateway({ mcpServers: {} }, async gateway => {
      const body = Buffer.alloc(LIMITS.bodyBytes + 1, 0x20)
      expect((await rawPost(gateway.url, body)).status).toBe(413)
      const chunked = await new Promise<number | undefined>((resolve, reject) => {
        const sent = request(gateway.url, { method: 'POST', headers: MCP_HEADERS }, answer => {
          answer.resume()
          resolve(answer.statusCode)
        })
        sent.once('error', reject)
        for (let i = 0; i < 5; i += 1) sent.write(body.subarray(0, 1024 * 1024))
        sent.end()
      })
      expect(chunked).toBe(413)
      const fits = Buffer.concat([Buffer.from(HELLO), Buffer.alloc(LIMITS.bodyBytes - HELLO.length, 0x20)])
      expect((await rawPost(gateway.url, fits)).status).toBe(200)
    })
  })

  test('a server message (LIMITS.upstreamMessageBytes) fails that call and no other', async () => {
    const bytes = LIMITS.upstreamMessageBytes + 1_000
    for (const transport of ['http', 'stdio'] as const) {
      await withFakes([{ transport, script: { builtins: ['big', 'echo'] } }], async fake => {
        const entry = { ...fake.entry, holdfast: { requestTimeout: '4s' } }
        await withClient({ a: entry }, async client => {
          const big = await callTool(client, 'a__big', { bytes })
          expect(big.isError).toBe(true)
          expect(['outcome_unknown', 'timeout']).toContain(failureOf(big)['kind'])
          expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
        })
      })
    }
  })

  test('the entries of one list (LIMITS.componentsPerKind) keeps the list out and says why', async () => {
    const tools = Array.from({ length: LIMITS.componentsPerKind + 1 }, (_, i) => ({
      name: `t${i}`,
      result: '{}',
    }))
    await withFakes(
      [{ script: { builtins: false, tools } }, { script: { builtins: ['echo'] } }],
      async (many, few) => {
        await withClient({ many: many.entry, few: few.entry }, async client => {
          const listed = await client.listTools()
          expect(listed.tools.map(tool => tool.name)).toEqual(['few__echo'])
          expect(missingIn(listed)[0]?.reason).toContain(`more than ${LIMITS.componentsPerKind} entries`)
        })
      },
    )
  })

  test('the pages of one list (LIMITS.listPages) ends an endless one', async () => {
    const tools = Array.from({ length: LIMITS.listPages + 5 }, (_, i) => ({ name: `t${i}`, result: '{}' }))
    await withFakes([{ script: { builtins: false, tools, pageSize: 1 } }], async fake => {
      await withClient({ a: fake.entry }, async client => {
        expect(missingIn(await client.listTools())[0]?.reason).toContain(
          `more than ${LIMITS.listPages} pages`,
        )
        expect(fake.records.count('tools/list')).toBeLessThanOrEqual(LIMITS.listPages)
      })
    })
  })

  test('the bytes of one list (LIMITS.listBytes) keeps it out', async () => {
    const description = 'x'.repeat(LIMITS.listBytes / 4)
    const tools = Array.from({ length: 5 }, (_, i) => ({
      name: `t${i}`,
      descriptor: { description },
      result: '{}',
    }))
    await withFakes([{ script: { builtins: false, tools, pageSize: 1 } }], async fake => {
      await withClient({ a: fake.entry }, async client => {
        expect(missingIn(await client.listTools())[0]?.reason).toContain(
          `larger than ${LIMITS.listBytes} bytes`,
        )
      })
    })
  })

  test('one page of our lists (LIMITS.pageSize) makes pages that add up, and refuses foreign cursors', async () => {
    const count = LIMITS.pageSize + 7
    const tools = Array.from({ length: count }, (_, i) => ({ name: `t${i}`, result: '{}' }))
    await withFakes([{ script: { builtins: false, tools } }], async fake => {
      await withClient({ a: fake.entry }, async client => {
        const first = await client.listTools()
        expect(first.tools).toHaveLength(LIMITS.pageSize)
        const second = await client.listTools({ cursor: first.nextCursor })
        expect(second.tools).toHaveLength(7)
        expect(second.nextCursor).toBeUndefined()
        await expect(client.listTools({ cursor: 'nonsense' })).rejects.toMatchObject({ code: -32602 })
        await expect(client.listPrompts({ cursor: first.nextCursor })).rejects.toMatchObject({ code: -32602 })
      })
    })
  })

  test('a first list (LIMITS.firstListMs) is waited for once, and then no more', async () => {
    const { clock, advance } = manualClock()
    const store = new Store()
    store.commitView(view('slow', { state: 'starting', settled: false }))
    store.commitView(view('fast', { catalog: offering('tools', 't') }))
    const listing = new Listing({
      clock,
      store,
      supervisors: new Map(),
      random: { next: () => 0, token: () => '' },
      firstListUntil: LIMITS.firstListMs,
    })
    let answered = 0
    void listing.page('tools', { kind: 'all' }, null).then(page => {
      answered = page.items.length
    })
    await Promise.resolve()
    advance(LIMITS.firstListMs - 1)
    await new Promise(resolve => setImmediate(resolve))
    expect(answered).toBe(0)
    advance(1)
    await new Promise(resolve => setImmediate(resolve))
    expect(answered).toBe(1)
    expect((await listing.page('tools', { kind: 'all' }, null)).items).toHaveLength(1)
  })

  test('the wait for an unknown owner (LIMITS.resolveMs) ends with the one that could not be asked', async () => {
    const hang = { on: 'initialize', do: { kind: 'hang' } as const }
    await withFakes([{ script: { faults: [hang] } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        const client = await connectV1Http(gateway.url)
        const started = performance.now()
        const result = await callTool(client, 'a__x')
        const ms = performance.now() - started
        expect(failureOf(result)).toMatchObject({ kind: 'unavailable', upstream: 'a' })
        expect(ms).toBeGreaterThan(LIMITS.resolveMs - 500)
        expect(ms).toBeLessThan(LIMITS.resolveMs + 3_000)
        await client.close()
      })
    })
  })

  test('requests in flight of one client (LIMITS.inFlightPerClient) refuses one more', async () => {
    await withFakes([{ script: { builtins: ['sleep'] } }], async fake => {
      await withGateway(
        { mcpServers: { a: { ...fake.entry, holdfast: { maxInFlight: 300 } } } },
        async gateway => {
          await gateway.settled()
          const session = {
            'mcp-session-id': String((await rawPost(gateway.url, HELLO)).headers['mcp-session-id']),
          }
          const call = (id: number) =>
            rawPost(
              gateway.url,
              `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"a__sleep","arguments":{"ms":1500}}}`,
              session,
            )
          const all = Array.from({ length: LIMITS.inFlightPerClient + 5 }, (_, i) => call(i + 1))
          const answers = (await Promise.all(all)).map(answer => JSON.parse(answer.messages[0] ?? ''))
          const refused = answers.filter(
            answer => answer.result._meta?.['dev.holdfast/failure']?.kind === 'overloaded',
          )
          expect(refused).toHaveLength(5)
        },
      )
    })
  })

  test('sessions (LIMITS.sessions) and their idle time (LIMITS.sessionIdleMs) hold', async () => {
    const { clock, advance } = manualClock()
    const host = { ...nodeHost(), clock }
    const core = {
      draining: false,
      offer: () => ({ serverInfo: {}, capabilities: {}, instructions: '' }),
      onListChanged: () => () => undefined,
      endSession: () => undefined,
    } as never
    const face = createHttpFace(core, host)
    const post = (body: string, session?: string) =>
      new Promise<{ status: number; session: string }>(resolve => {
        const listeners = new Map<string, (chunk?: Buffer) => void>()
        const req = {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...(session ? { 'mcp-session-id': session } : {}) },
          on: (event: string, fn: () => void) => listeners.set(event, fn),
        }
        const answer = { status: 0, session: '' }
        const res = {
          on: () => undefined,
          writeHead: (status: number, headers: Record<string, string> = {}) => {
            answer.status = status
            answer.session = headers['mcp-session-id'] ?? ''
            return res
          },
          end: () => resolve(answer),
        }
        face.handle(req as never, res as never, { kind: 'all' })
        listeners.get('data')?.(Buffer.from(body))
        listeners.get('end')?.()
      })
    const first = (await post(HELLO)).session
    const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    expect((await post(ping, first)).status).toBe(200)
    for (let i = 0; i < LIMITS.sessions; i += 1) await post(HELLO)
    expect((await post(ping, first)).status).toBe(404)
    const last = (await post(HELLO)).session
    advance(LIMITS.sessionIdleMs - 1)
    expect((await post(ping, last)).status).toBe(200)
    advance(LIMITS.sessionIdleMs)
    expect((await post(ping, last)).status).toBe(404)
    face.close()
  })

  test("a child's stderr (LIMITS.stderrRingBytes) keeps the last lines", () => {
    const tails = new StderrTails()
    for (let i = 0; i < 3_000; i += 1) tails.add('a', `${i} ${'x'.repeat(100)}`)
    const lines = tails.lines('a')
    expect(lines.join('\n').length).toBeLessThanOrEqual(LIMITS.stderrRingBytes)
    expect(lines.at(-1)).toMatch(/^2999 /)
  })

  test("a child's stdin (LIMITS.stdinQueueBytes) refuses what does not fit, and never the only message", async () => {
    const refused: number[] = []
    const child = {
      queuedBytes: 0,
      write({ length }: Uint8Array) {
        this.queuedBytes = length
        return false
      },
    }
    const events = { refused: (id: number) => refused.push(id), stuck: () => undefined }
    const queue = new StdinQueue(child as never, nodeHost().clock, events)
    queue.push(Buffer.alloc(1), 0)
    child.queuedBytes = 0
    queue.push(Buffer.alloc(LIMITS.stdinQueueBytes * 2), 1)
    queue.push(Buffer.alloc(10), 2)
    expect(refused).toEqual([2])
    expect(queue.takeUnsent()).toEqual([1])
    queue.push(Buffer.alloc(LIMITS.stdinQueueBytes - 5), 3)
    queue.push(Buffer.alloc(10), 4)
    expect(refused).toEqual([2, 4])
    queue.stop()
  })

  test('a client that does not read (LIMITS.clientBufferBytes) costs no more than that', async () => {
    await withFakes([{ script: { builtins: ['progress'] } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const session = {
          'mcp-session-id': String((await rawPost(gateway.url, HELLO)).headers['mcp-session-id']),
        }
        const body =
          '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__progress","arguments":{"n":20000,"after":10},"_meta":{"progressToken":"' +
          'x'.repeat(900) +
          '"}}}'
        const stream = await rawStream(gateway.url, {
          method: 'POST',
          headers: { ...MCP_HEADERS, ...session },
          body,
          timeoutMs: 30_000,
        })
        let last = ''
        for (let event = await stream.next(20_000); event !== null; event = await stream.next(20_000))
          last = event
        expect(JSON.parse(last).result).toBeDefined()
        expect(LIMITS.clientBufferBytes).toBe(1024 * 1024)
      })
    })
  })

  test('a timer (LIMITS.timerMs) is clamped, where Node would fire at once', async () => {
    let fired = false
    const timer = nodeHost().clock.after(LIMITS.timerMs * 3, () => {
      fired = true
    })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(fired).toBe(false)
    timer.cancel()
  })

  test('the silence of a stream (LIMITS.keepAliveMs) is broken by a comment', () => {
    const { clock, advance } = manualClock()
    const keepAlive = new KeepAlive(clock)
    let beats = 0
    const waiting = { startedAt: 0, slot: -1, stayAlive: () => beats++ }
    keepAlive.add(waiting)
    advance(LIMITS.keepAliveMs - 1)
    expect(beats).toBe(0)
    advance(1)
    advance(LIMITS.keepAliveMs)
    expect(beats).toBe(2)
    keepAlive.remove(waiting)
    advance(LIMITS.keepAliveMs)
    expect(beats).toBe(2)
  })

  test('the life of a call whose legacy client is gone (LIMITS.detachedMs) ends it', async () => {
    const { clock, advance } = manualClock()
    let cancelled = ''
    const core = {
      draining: false,
      offer: () => ({ serverInfo: {}, capabilities: {}, instructions: '' }),
      onListChanged: () => () => undefined,
      endSession: () => undefined,
      call: () => ({ cancel: (reason: string) => (cancelled = reason) }),
    } as never
    const face = createHttpFace(core, { ...nodeHost(), clock })
    const { createServer } = await import('node:http')
    const server = createServer((req, res) => face.handle(req, res, { kind: 'all' })).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/mcp`
    const session = { 'mcp-session-id': String((await rawPost(url, HELLO)).headers['mcp-session-id']) }
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}'
    await rawRequest(url, {
      method: 'POST',
      headers: { ...MCP_HEADERS, ...session },
      body,
      timeoutMs: 100,
    }).catch(() => undefined)
    await expect
      .poll(() => {
        advance(LIMITS.detachedMs / 2)
        return cancelled
      })
      .toBe('the client is gone')
    face.close()
    server.close()
  })
})
