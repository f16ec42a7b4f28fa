import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { LIMITS } from '../../src/model/index.js'
import { connectV1Http, connectV2Http, gatewayOnStdio } from '../kit/clients.js'
import { type Script, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { relay } from '../kit/ports.js'
import { MCP_HEADERS, rawPost, rawStream } from '../kit/raw-http.js'
import { openPipe } from '../kit/raw-stdio.js'
import { modern, openSession as openFaceSession, rpc, withFace } from '../kit/scripted-core.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import {
  modernBody,
  modernHeaders,
  notification,
  openSession,
  parsed,
  postModern,
  request,
  streamModern,
  toolCall,
} from '../protocol/shared.js'
import { postText, postWithoutReading, residentMb } from './unread.js'

const MB = 1024 * 1024

const callBody = (id: unknown, name: string, args: object = {}, meta?: object) =>
  request('tools/call', { name, arguments: args, ...(meta ? { _meta: meta } : {}) }, id)

const idle = (gateway: TestGateway) =>
  gateway.waitFor(status => status.upstreams.every(upstream => upstream.inFlight === 0))

describe('progress without end', () => {
  verifies(
    ['F24b'],
    'is told to the client at most ten times a second, the last of it always, and to nobody else',
    async () => {
      for (const eras of ['legacy', 'modern'] as const) {
        const script: Script = {
          eras,
          builtins: ['echo'],
          tools: [
            {
              name: 'flood',
              steps: [{ progress: 10_000 }, { sleep: 300 }, { progress: 10_000 }],
              result: '{"content":[]}',
            },
          ],
        }
        await withFakes([{ script }], async fake => {
          await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
            await gateway.settled()
            const bystander = await openSession(gateway)
            const quiet = await bystander.listen()
            const started = performance.now()
            const stream = await streamModern(gateway, {
              ...toolCall('a__flood'),
              meta: { progressToken: 't' },
            })
            const seen: number[] = []
            for (;;) {
              const message = parsed(await stream.next(20_000))
              if (message.result) break
              seen.push(Number(message.params?.['progress']))
            }
            const seconds = (performance.now() - started) / 1_000
            expect(seen.length).toBeLessThanOrEqual(LIMITS.notesPerRequest * Math.ceil(seconds) + 1)
            expect(seen.at(-1)).toBe(10_000)
            expect(quiet.text).not.toContain('progress')
            quiet.drop()
          })
        })
      }
    },
  )
})

describe('cancels', () => {
  verifies(
    ['F26'],
    'come to a server once for each call, however often a client sends them, and leave nothing behind',
    async () => {
      for (const eras of ['legacy', 'modern'] as const) {
        await withFakes([{ script: { eras, builtins: ['sleep', 'echo'] } }], async fake => {
          await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
            await gateway.settled()
            const session = await openSession(gateway)
            const cancel = (id: unknown) =>
              session.post(notification('notifications/cancelled', { requestId: id, reason: 'enough' }))
            const before = residentMb(gateway.pid)
            // A cancelled call keeps its place at the server for a while, so these are fewer than the places.
            const ids = Array.from({ length: 40 }, (_, id) => id)
            const calls = ids.map(id => session.post(callBody(id, 'a__sleep', { ms: 60_000 })))
            const { records } = fake
            await records.waitFor(() => records.runs('sleep') === ids.length)
            await Promise.all(ids.flatMap(id => Array.from({ length: 25 }, () => cancel(id))))
            expect((await Promise.all(calls)).every(({ text }) => text === '')).toBe(true)
            const told = () =>
              eras === 'legacy' ? records.count('notifications/cancelled') : records.cancelled.length
            await records.waitFor(() => told() >= ids.length)
            await delay(100)
            expect([told(), records.callsOf('sleep').length]).toEqual([ids.length, ids.length])
            expect(residentMb(gateway.pid) - before).toBeLessThan(64)
            expect(
              (await session.ask('tools/call', { name: 'a__echo', arguments: { n: 1 } })).result,
            ).toMatchObject({
              structuredContent: { n: 1 },
            })
          })
        })
      }
    },
    90_000,
  )

  verifies(['F26'], 'of a thousand calls in one burst reach the core once each', async () => {
    await withFace(async ({ core, url }) => {
      const sessions = await Promise.all(Array.from({ length: 5 }, () => openFaceSession(url)))
      const all = sessions.flatMap(({ session }) => Array.from({ length: 200 }, (_, id) => ({ id, session })))
      const cancels: number[] = all.map(() => 0)
      const call = core.call.bind(core)
      let next = 0
      core.call = (made, reply) => {
        const at = next++
        const running = call(made, reply)
        return {
          cancel: reason => {
            cancels[at] = (cancels[at] ?? 0) + 1
            running.cancel(reason)
          },
        }
      }
      const answers = all.map(({ id, session }) => rawPost(url, callBody(id, 't'), session))
      await expect.poll(() => core.calls, { timeout: 10_000 }).toBe(all.length)
      const storm = all.flatMap(({ id, session }) =>
        [1, 2].map(() => rawPost(url, notification('notifications/cancelled', { requestId: id }), session)),
      )
      await Promise.all(storm)
      expect((await Promise.all(answers)).every(({ text }) => text === '')).toBe(true)
      expect(cancels.every(count => count === 1)).toBe(true)
    })
  })
})

describe('one id twice at a time', () => {
  const script: Script = { builtins: ['sleep', 'echo'] }

  verifies(['F27'], 'is refused in a session and on stdio, and the first request is answered', async () => {
    await withFakes([{ script }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const session = await openSession(gateway)
        const first = session.post(callBody(7, 'a__sleep', { ms: 500 }))
        await fake.records.waitFor(records => records.callsOf('sleep').length === 1)
        expect(parsed((await session.post(callBody(7, 'a__echo'))).text).error?.code).toBe(-32600)
        expect(parsed((await first).messages.at(-1)).result?.['content']).toMatchObject([
          { text: 'slept 500 ms' },
        ])
        const { configFile } = gateway
        const pipe = openPipe(await gatewayOnStdio({ config: configFile }))
        pipe.write(`${request('initialize', { protocolVersion: '2025-11-25', capabilities: {} }, 0)}\n`)
        expect(parsed(await pipe.next()).id).toBe(0)
        for (const make of [
          (id: number, ms: number) => callBody(id, 'a__sleep', { ms }),
          (id: number, ms: number) => modernBody({ ...toolCall('a__sleep', { ms }), id }),
        ]) {
          pipe.write(`${make(7, 300)}\n${make(7, 1)}\n`)
          expect(parsed(await pipe.next())).toMatchObject({ id: 7, error: { code: -32600 } })
          expect(parsed(await pipe.next()).result?.['content']).toMatchObject([{ text: 'slept 300 ms' }])
        }
        await pipe.close()
      })
    })
  })

  verifies(
    ['F27'],
    'is nothing to separate stateless requests, whose answers are never swapped',
    async () => {
      for (const transport of ['http', 'stdio'] as const) {
        await withFakes([{ transport, script }], async fake => {
          await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
            await gateway.settled()
            const ask = async (nonce: number) => {
              const args = { nonce, text: 'x'.repeat(nonce % 50) }
              const { answer } = await postModern(gateway, { ...toolCall('a__echo', args), id: 0 })
              expect([answer.id, answer.result?.['structuredContent']]).toEqual([0, args])
            }
            for (let round = 0; round < 40; round += 1) {
              await Promise.all(Array.from({ length: 25 }, (_, i) => ask(round * 25 + i)))
            }
          })
        })
      }
    },
  )

  verifies(['F27'], 'may stand on one connection, up to the bound of one client', async () => {
    await withFace(async ({ core, url }) => {
      const { body, headers } = modern('tools/call', { name: 't', arguments: {} }, 0)
      const socket = await postWithoutReading(url, body, headers)
      const one = postText(url, body, headers)
      socket.write(one.repeat(LIMITS.inFlightPerClient + 20))
      await expect.poll(() => core.calls).toBe(LIMITS.inFlightPerClient)
      await delay(100)
      expect(core.calls).toBe(LIMITS.inFlightPerClient)
      socket.destroy()
    })
  })
})

describe('a client that goes away in the middle of a call', () => {
  verifies(['F51'], 'is a cancel to the server within 100 ms, when it is a modern one', async () => {
    for (const eras of ['legacy', 'modern'] as const) {
      await withFakes([{ script: { eras, builtins: ['progress', 'sleep'] } }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const call = { ...toolCall('a__progress', { n: 1, after: 60_000 }), meta: { progressToken: 1 } }
          const streaming = await streamModern(gateway, call)
          await streaming.next()
          const silent = { ...toolCall('a__sleep', { ms: 60_000 }) }
          const socket = await postWithoutReading(gateway.url, modernBody(silent), modernHeaders(silent))
          await fake.records.waitFor(records => records.callsOf('sleep').length === 1)
          for (const [n, drop] of [
            [1, () => streaming.drop()],
            [2, () => socket.destroy()],
          ] as const) {
            const at = performance.now()
            drop()
            await fake.records.waitFor(records => records.cancelled.length === n)
            await expectWithin(performance.now() - at, 100)
          }
          await idle(gateway)
        })
      })
    }
  })

  verifies(
    ['F51'],
    'does not stop the call of a session, which is answered to whoever comes back for it',
    async () => {
      await withFakes([{ script: { builtins: ['progress', 'echo'] } }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const session = await openSession(gateway)
          const headers = { ...session.headers, accept: 'text/event-stream' }
          const resume = (from: string) =>
            rawStream(gateway.url, { method: 'GET', headers: { ...headers, 'last-event-id': from } })
          const start = async (id: number, after: number) => {
            const stream = await rawStream(gateway.url, {
              method: 'POST',
              headers: { ...MCP_HEADERS, ...session.headers },
              body: callBody(id, 'a__progress', { n: 1, after }, { progressToken: id }),
            })
            await stream.next()
            stream.drop()
            return /^id: (\d+-\d+)$/gm.exec(stream.text)?.[1] ?? ''
          }
          // Back before the answer: the stream goes on.
          const early = await resume(await start(1, 600))
          expect(parsed(await early.next())).toMatchObject({
            id: 1,
            result: { content: [{ text: '1 steps' }] },
          })
          expect(await early.next()).toBeNull()
          // Back after it: the answer was kept.
          const from = await start(2, 50)
          await idle(gateway)
          for (let times = 0; times < 2; times += 1) {
            const late = await resume(from)
            expect(parsed(await late.next())).toMatchObject({
              id: 2,
              result: { content: [{ text: '1 steps' }] },
            })
            expect(await late.next()).toBeNull()
          }
          expect(fake.records.cancelled).toHaveLength(0)
          // Nobody else gets it: not another session, not under another name.
          const other = await openSession(gateway)
          const stranger = await rawStream(gateway.url, {
            method: 'GET',
            headers: { ...headers, ...other.headers, 'last-event-id': from },
          })
          const unknown = await resume('99-1')
          await delay(200)
          expect([stranger.text, unknown.text].join('')).toBe('')
          stranger.drop()
          unknown.drop()
        })
      })
    },
  )

  verifies(['F51'], 'gets its answer through the official clients, when a connection breaks', async () => {
    const script: Script = { builtins: ['progress'] }
    await withFakes([{ script }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const params = { name: 'a__progress', arguments: { n: 1, after: 700 } }
        const clients = [
          async (url: string, onprogress: () => void) => {
            const client = await connectV1Http(url)
            const answer = client.callTool(params, undefined, { onprogress, timeout: 15_000 })
            return { client, answer: answer.then(result => result['content']) }
          },
          async (url: string, onprogress: () => void) => {
            const client = await connectV2Http(url, 'legacy')
            const answer = client.callTool(params, { onprogress, timeout: 15_000 })
            return { client, answer: answer.then(result => result.content as unknown) }
          },
        ]
        for (const begin of clients) {
          const line = await relay(Number(new URL(gateway.url).port))
          let started: () => void = () => undefined
          const progress = new Promise<void>(resolve => {
            started = resolve
          })
          const { client, answer } = await begin(line.url, () => started())
          await progress
          line.drop()
          expect(await answer).toMatchObject([{ text: '1 steps' }])
          await client.close()
          await line.close()
        }
        expect(fake.records.callsOf('progress')).toHaveLength(2)
      })
    })
  })
})

describe('a client that never reads', () => {
  verifies(
    ['F52'],
    'costs at most its buffer, is closed after its time, and its call is cancelled',
    async () => {
      await withFace(async ({ core, face, time, url }) => {
        const { body, headers } = modern('tools/call', { name: 't' }, 'q', { progressToken: 'p' })
        const socket = await postWithoutReading(url, body, headers)
        const call = await core.next()
        const part = 'x'.repeat(MB - 1_000)
        // 200 MB within 20 s: what the kernel does not take waits here, the last of it alone.
        for (let i = 0; i < 200; i += 1) {
          call.progress(`{"progressToken":1,"progress":${i},"message":"${part}"}`)
          time.advance(100)
          await new Promise(resolve => setImmediate(resolve))
          expect(face.bufferedBytes).toBeLessThanOrEqual(LIMITS.clientBufferBytes)
        }
        expect(face.bufferedBytes).toBeGreaterThan(0)
        const closed = new Promise(resolve => socket.once('close', resolve))
        for (let ms = 0; ms <= LIMITS.clientStalledMs && !call.isCancelled; ms += 1_000) {
          time.advance(1_000)
          await new Promise(resolve => setImmediate(resolve))
        }
        expect(await call.cancelled).toBe('the client closed its stream')
        expect(face.bufferedBytes).toBe(0)
        socket.resume()
        await closed
      })
    },
  )

  verifies(
    ['F52'],
    'costs at most its buffer and one answer, also when the answer is plain JSON',
    async () => {
      for (const meta of [{}, { progressToken: 'p' }]) {
        await withFace(async ({ core, face, time, url }) => {
          const { body, headers } = modern('tools/call', { name: 't' }, 'q', meta)
          const socket = await postWithoutReading(url, body, headers)
          const call = await core.next()
          const size = 12 * MB
          call.progress('{"progressToken":1,"progress":1}')
          call.result(`{"content":[],"filler":"${'x'.repeat(size)}"}`)
          await delay(50)
          expect(face.bufferedBytes).toBeGreaterThan(MB)
          expect(face.bufferedBytes).toBeLessThanOrEqual(LIMITS.clientBufferBytes + size + 1_000)
          time.advance(LIMITS.clientStalledMs - 1)
          expect(face.bufferedBytes).toBeGreaterThan(MB)
          time.advance(1)
          expect(face.bufferedBytes).toBe(0)
          const closed = new Promise(resolve => socket.once('close', resolve))
          socket.resume()
          await closed
        })
      }
    },
  )

  verifies(['F52'], 'that is slow but reads gets all of it, whatever time that takes', async () => {
    await withFace(async ({ core, face, time, url }) => {
      const { body, headers } = modern('tools/call', { name: 't' }, 'q', {})
      const socket = await postWithoutReading(url, body, headers)
      const call = await core.next()
      const size = 32 * MB
      call.result(`{"content":[],"filler":"${'x'.repeat(size)}"}`)
      let got = 0
      let wanted = 0
      socket.on('data', chunk => {
        got += chunk.length
        if (got >= wanted) socket.pause()
      })
      // Half of the time before each part, twice that of one stall in all.
      for (let parts = 0; parts < 4; parts += 1) {
        const before = face.bufferedBytes
        expect(before).toBeGreaterThan(0)
        wanted += 5 * MB
        socket.resume()
        await expect.poll(() => face.bufferedBytes, { interval: 5 }).toBeLessThan(before)
        await expect.poll(() => got, { interval: 5 }).toBeGreaterThanOrEqual(wanted)
        time.advance(LIMITS.clientStalledMs / 2)
      }
      wanted = Number.POSITIVE_INFINITY
      socket.resume()
      await expect.poll(() => got).toBeGreaterThan(size)
      expect(face.bufferedBytes).toBe(0)
      socket.destroy()
    })
  })

  verifies(['F52'], 'of a session keeps its session, and may fetch a small answer later', async () => {
    await withFace(async ({ core, face, time, url }) => {
      const { session } = await openFaceSession(url)
      const body = rpc('tools/call', { name: 't', _meta: { progressToken: 1 } }, 5)
      const socket = await postWithoutReading(url, body, session)
      const call = await core.next()
      for (let i = 0; i < 60; i += 1) {
        call.progress(`{"progressToken":1,"progress":${i},"message":"${'x'.repeat(MB - 1_000)}"}`)
        time.advance(100)
        await new Promise(resolve => setImmediate(resolve))
      }
      call.result('{"content":[{"type":"text","text":"at last"}]}')
      const closed = new Promise(resolve => socket.once('close', resolve))
      for (let ms = 0; ms <= LIMITS.clientStalledMs; ms += 500) {
        time.advance(500)
        await new Promise(resolve => setImmediate(resolve))
      }
      expect(call.isCancelled).toBe(false)
      expect(face.bufferedBytes).toBeLessThan(1_000)
      socket.resume()
      await closed
      const again = await rawStream(url, {
        method: 'GET',
        headers: { ...session, accept: 'text/event-stream', 'last-event-id': '1-1' },
      })
      expect(parsed(await again.next())).toMatchObject({ id: 5, result: { content: [{ text: 'at last' }] } })
      time.advance(LIMITS.detachedMs)
      expect(face.bufferedBytes).toBe(0)
    })
  })

  verifies(['F52'], 'of a server that sends 200 MB does not make the gateway larger', async () => {
    const message = 'x'.repeat(100_000)
    const steps = Array.from({ length: 2_000 }, (_, i) => ({
      notify: { method: 'notifications/message', params: { level: 'info', data: `${i}${message}` } },
    }))
    const tools = [{ name: 'flood', steps, result: '{"content":[]}' }]
    await withFakes(
      [{ script: { eras: 'modern', builtins: false, tools } }, { script: { builtins: ['echo'] } }],
      async (noisy, quiet) => {
        await withGateway({ mcpServers: { a: noisy.entry, b: quiet.entry } }, async gateway => {
          await gateway.settled()
          const before = residentMb(gateway.pid)
          const call = { ...toolCall('a__flood'), meta: { 'io.modelcontextprotocol/logLevel': 'debug' } }
          const socket = await postWithoutReading(gateway.url, modernBody(call), modernHeaders(call))
          let peak = 0
          for (let i = 0; i < 20; i += 1) {
            const { answer } = await postModern(gateway, toolCall('b__echo', { i }))
            expect(answer.result?.['structuredContent']).toEqual({ i })
            peak = Math.max(peak, residentMb(gateway.pid))
            await delay(100)
          }
          await idle(gateway)
          expect(peak - before).toBeLessThan(100)
          expect(noisy.records.runs('flood')).toBe(1)
          let got = 0
          socket.on('data', chunk => {
            got += chunk.length
          })
          socket.resume()
          await expect.poll(() => got, { timeout: 10_000 }).toBeGreaterThan(10 * message.length)
          socket.destroy()
        })
      },
    )
  })
})
