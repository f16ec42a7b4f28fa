import { Agent, request } from 'node:http'
import { describe, expect } from 'vitest'
import { LIMITS } from '../../src/model/index.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { MCP_HEADERS, rawPost, rawRequest } from '../kit/raw-http.js'
import { openSession, rpc, withFace } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'
import { hello, notification } from '../protocol/shared.js'
import { residentMb } from './unread.js'

/** Posts over a few connections that are kept; resolves with the session's id. */
function poster(url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const post = (body: string, headers: Record<string, string> = {}) =>
    new Promise<string>((resolve, reject) => {
      const req = request(
        url,
        {
          method: 'POST',
          agent,
          headers: { ...MCP_HEADERS, ...headers, 'content-length': Buffer.byteLength(body) },
        },
        res => {
          res.resume().on('end', () => resolve(String(res.headers['mcp-session-id'] ?? res.statusCode)))
        },
      )
      req.on('error', reject)
      req.end(body)
    })
  return { post, close: () => agent.destroy() }
}

describe('sessions that nobody ends', () => {
  verifies(
    ['F54'],
    'cost ten thousand of them at most 100 MB, and make room for the next one',
    async () => {
      await withFakes([{ script: { builtins: ['echo'] } }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const { post, close } = poster(gateway.url)
          const body = hello('2025-11-25', { roots: { listChanged: true }, sampling: {}, elicitation: {} })
          const begin = async () => {
            const id = await post(body)
            await post(notification('notifications/initialized'), { 'mcp-session-id': id })
            return id
          }
          const ids: string[] = []
          const before = residentMb(gateway.pid)
          for (let i = 0; i < LIMITS.sessions; i += 100) {
            ids.push(...(await Promise.all(Array.from({ length: 100 }, begin))))
          }
          expect(new Set(ids).size).toBe(LIMITS.sessions)
          expect(residentMb(gateway.pid) - before).toBeLessThan(100)
          const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
          const status = (id: string) => post(ping, { 'mcp-session-id': id })
          expect(await status(ids[0] ?? '')).toBe('200')
          await begin()
          // One that was unused for longest had to go; the one that was used just now stays.
          expect(await status(ids[0] ?? '')).toBe('200')
          const old = await Promise.all(ids.slice(1, 100).map(status))
          expect(old.filter(answer => answer === '404')).toHaveLength(1)
          close()
        })
      })
    },
    120_000,
  )

  verifies(['F54'], 'are swept without anybody asking, with all that they listened to', async () => {
    await withFace(async ({ core, face, time, url }) => {
      for (let i = 0; i < 50; i += 1) await openSession(url)
      expect([face.sessions, core.listeners.size]).toEqual([50, 50])
      time.advance(LIMITS.sessionIdleMs - 1)
      expect(face.sessions).toBe(50)
      time.advance(LIMITS.sessionSweepMs)
      expect([face.sessions, core.listeners.size, time.timers]).toEqual([0, 0, 0])
    })
  })

  verifies(
    ['F54'],
    'end after a day, though their client listens, but not in the middle of a request',
    async () => {
      await withFace(async ({ core, face, time, url }) => {
        const { session, headers } = await openSession(url)
        const stream = rawRequest(url, { method: 'GET', headers, timeoutMs: 60_000 })
        const call = rawPost(url, rpc('tools/call', { name: 't' }, 1), {
          ...session,
          accept: 'application/json',
        })
        const running = await core.next()
        time.advance(LIMITS.sessionMaxAgeMs)
        expect(face.sessions).toBe(1)
        running.result('{"content":[]}')
        expect((await call).status).toBe(200)
        time.advance(LIMITS.sessionSweepMs)
        expect(face.sessions).toBe(0)
        expect((await stream).status).toBe(200)
        expect((await rawPost(url, rpc('ping'), session)).status).toBe(404)
      })
    },
  )
})

describe('a client whose session ended', () => {
  verifies(['F54'], 'is told so with 404, and begins anew under another id', async () => {
    await withFace(async ({ core, time, url }) => {
      core.always = '{"content":[]}'
      const { session } = await openSession(url)
      time.advance(LIMITS.sessionIdleMs)
      const call = rpc('tools/call', { name: 't' }, 1)
      const refused = await rawPost(url, call, session)
      expect([refused.status, JSON.parse(refused.text).id]).toEqual([404, 1])
      const again = await openSession(url)
      expect(again.session['mcp-session-id']).not.toBe(session['mcp-session-id'])
      expect((await rawPost(url, call, again.session)).status).toBe(200)
      expect((await rawPost(url, call, session)).status).toBe(404)
    })
  })

  verifies(['F54'], 'of the official kind works again after a new handshake', async () => {
    await withFakes([{ script: { builtins: ['echo'] } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const first = await connectV1Http(gateway.url)
        const { transport } = first
        const id = (transport as { sessionId?: string } | undefined)?.sessionId ?? ''
        await rawRequest(gateway.url, { method: 'DELETE', headers: { 'mcp-session-id': id } })
        await expect(first.callTool({ name: 'a__echo', arguments: {} })).rejects.toThrow()
        await first.close()
        const second = await connectV1Http(gateway.url)
        const result = await second.callTool({ name: 'a__echo', arguments: { n: 1 } })
        expect(result['structuredContent']).toEqual({ n: 1 })
        await second.close()
      })
    })
  })
})
