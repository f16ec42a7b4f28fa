import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createApp } from '../../src/app.js'
import { readConfigObject } from '../../src/config/index.js'
import type { LoadLevel, Pressure } from '../../src/core/shed/index.js'
import { LIMITS } from '../../src/model/index.js'
import { ensureBuilt, ROOT } from '../kit/build.js'
import { withFakes } from '../kit/fake-mcp.js'
import { type TestConfig, type TestGateway, withGateway } from '../kit/gateway.js'
import { rawPost, rawRequest, rawStream } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { modern, openSession as openFaceSession, withFace } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'
import {
  hello,
  modernHeaders,
  openSession,
  parsed,
  postModern,
  request,
  toolCall,
} from '../protocol/shared.js'
import { postWithoutReading } from './unread.js'

const NORMAL: Pressure = { heap: 0.2, loopDelayMs: 2, fds: 0.01 }

/** The whole gateway in this process, under a pressure that the test sets. */
async function withPressure(
  use: (gate: {
    url: string
    origin: string
    press(pressure: Partial<Pressure>, level: number): Promise<void>
  }) => Promise<void>,
): Promise<void> {
  let pressure = NORMAL
  const gauge = { start: () => undefined, stop: () => undefined, read: () => pressure }
  const reading = readConfigObject({ mcpServers: {} }, { env: {}, baseDir: freshFolder('pressed') })
  const app = createApp({
    reading,
    configPath: null,
    log: () => undefined,
    gauge,
    stateFolder: freshFolder('state'),
  })
  const { url } = await app.listen({ port: 0 })
  const levelNow = () => (app.status().gateway as unknown as { load: { level: number } }).load.level
  const press = async (part: Partial<Pressure>, level: number) => {
    pressure = { ...NORMAL, ...part }
    await expect.poll(levelNow, { interval: 20, timeout: 10_000 }).toBe(level)
  }
  try {
    await use({ url: `${url}/mcp`, origin: url, press })
  } finally {
    await app.close()
  }
}

const status = async (origin: string) =>
  JSON.parse((await rawRequest(`${origin}/api/v1/status`, { method: 'GET' })).text) as {
    gateway: { load: { level: number; heap: number; loopDelayMs: number; fds: number | null } }
  }

describe('a gateway that is short of something', () => {
  verifies(
    ['F60'],
    'takes first nothing new that lasts, then no requests, and goes back in the same order; status always answers',
    async () => {
      await withPressure(async ({ url, origin, press }) => {
        const { headers } = await rawPost(url, hello())
        const session = { 'mcp-session-id': String(headers['mcp-session-id']) }
        const listen = modern('subscriptions/listen', { notifications: {} })
        const tries = async () => {
          const post = async (body: string, sent: Record<string, string> = {}) => {
            const answer = await rawPost(url, body, sent)
            if (answer.status === 503) {
              expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1)
              expect(JSON.parse(answer.text).error).toMatchObject({
                code: 42901,
                data: { kind: 'overloaded' },
              })
            }
            return answer.status
          }
          const get = await rawStream(url, {
            method: 'GET',
            headers: { ...session, accept: 'text/event-stream' },
          })
          get.drop()
          const { status: listening, drop } = await rawStream(url, {
            method: 'POST',
            body: listen.body,
            headers: { ...modernHeaders({ method: 'subscriptions/listen' }) },
          })
          drop()
          expect((await rawRequest(`${origin}/healthz`, { method: 'GET' })).status).toBe(200)
          expect((await rawRequest(`${origin}/readyz`, { method: 'GET' })).status).toBe(200)
          const list = modern('tools/list')
          return {
            stream: get.status,
            listen: listening,
            begin: await post(hello()),
            legacy: await post(request('tools/list', {}, 2), session),
            modern: await post(list.body, list.headers),
            ping: await post(request('ping', {}, 3), session),
          }
        }
        const all = { stream: 200, listen: 200, begin: 200, legacy: 200, modern: 200, ping: 200 }
        const lasting = { ...all, stream: 503, listen: 503, begin: 503 }
        const requests = { ...lasting, legacy: 503, modern: 503 }
        expect(await tries()).toEqual(all)
        for (const what of ['heap', 'fds'] as const) {
          await press({ [what]: 0.86 }, 1)
          expect(await tries()).toEqual(lasting)
          expect((await status(origin)).gateway.load).toMatchObject({ level: 1, [what]: 0.86 })
          await press({ [what]: 0.93 }, 2)
          expect(await tries()).toEqual(requests)
          await press({ [what]: 0.98 }, 3)
          expect(await tries()).toEqual(requests)
          for (const level of [2, 1, 0]) await press({}, level)
          expect(await tries()).toEqual(all)
        }
        await press({ loopDelayMs: 300 }, 1)
        await press({ loopDelayMs: 1_200 }, 2)
        expect(await tries()).toEqual(requests)
        await press({}, 0)
        expect(await tries()).toEqual(all)
      })
    },
  )

  verifies(['F60'], 'answers the calls that it has begun', async () => {
    await withPressure(async ({ url, press }) => {
      await press({ heap: 0.98 }, 3)
      const { body, headers } = modern('tools/list')
      expect((await rawPost(url, body, headers)).status).toBe(503)
      await press({}, 0)
      expect((await rawPost(url, body, headers)).status).toBe(200)
    })
    await withFakes([{ script: { builtins: ['sleep'] } }], async fake => {
      await withBallast({ a: fake.entry }, async (gateway, load) => {
        await gateway.settled()
        const running = postModern(gateway, toolCall('a__sleep', { ms: 4_000 }))
        await fake.records.waitFor(records => records.callsOf('sleep').length === 1)
        await load(true)
        await expect.poll(() => levelOf(gateway), { timeout: 10_000 }).toBeGreaterThanOrEqual(2)
        expect((await running).answer.result?.['content']).toMatchObject([{ text: 'slept 4000 ms' }])
      })
    })
  })

  verifies(
    ['F60'],
    'finds it out by itself when its heap is really full, and is back to normal after',
    async () => {
      await withFakes([{ script: { builtins: ['echo'] } }], async fake => {
        await withBallast({ a: fake.entry }, async (gateway, load) => {
          await gateway.settled()
          const session = await openSession(gateway)
          const echo = () => postModern(gateway, toolCall('a__echo', { n: 1 }))
          expect((await echo()).status).toBe(200)
          for (let round = 0; round < 2; round += 1) {
            await load(true)
            await expect.poll(() => levelOf(gateway), { timeout: 10_000 }).toBeGreaterThanOrEqual(2)
            const refused = await echo()
            expect([refused.status, refused.answer.error?.code]).toEqual([503, 42901])
            expect((await session.post(request('tools/list', {}, 9))).status).toBe(503)
            expect(gateway.running).toBe(true)
            await load(false)
            await expect.poll(() => levelOf(gateway), { timeout: 15_000 }).toBe(0)
            expect((await echo()).answer.result?.['structuredContent']).toEqual({ n: 1 })
            expect(parsed((await session.post(request('tools/list', {}, 9))).text).result).toBeDefined()
          }
        })
      })
    },
  )
})

/** A gateway with a small heap, and a way to fill it to 94 percent and to empty it. */
async function withBallast(
  mcpServers: TestConfig['mcpServers'],
  use: (gateway: TestGateway, load: (on: boolean) => Promise<void>) => Promise<void>,
): Promise<void> {
  const megabytes = 192
  const file = join(freshFolder('ballast'), 'ballast.mjs')
  writeFileSync(
    file,
    `import v8 from 'node:v8'
     import vm from 'node:vm'
     v8.setFlagsFromString('--expose-gc')
     const gc = vm.runInNewContext('gc')
     let ballast = []
     process.on('SIGUSR2', () => {
       if (ballast.length > 0) { ballast = []; gc(); return }
       gc()
       while (v8.getHeapStatistics().used_heap_size < ${0.94 * megabytes} * 1048576) {
         for (let i = 0; i < 100; i += 1) ballast.push(Array.from({ length: 100 }, (_, n) => ({ n })))
       }
     })`,
  )
  const env = {
    NODE_OPTIONS: `--max-old-space-size=${megabytes} --import=${pathToFileURL(file).href}`,
  }
  await withGateway({ mcpServers }, gateway => use(gateway, async () => gateway.signal('SIGUSR2')), { env })
}

async function levelOf(gateway: TestGateway): Promise<number> {
  return (await status(gateway.origin)).gateway.load.level
}

describe('a gateway at the end of its memory', () => {
  verifies(['F60'], 'closes the stream for which most waits, one at each measurement', async () => {
    const load = { level: 0 as LoadLevel, retryAfterMs: () => 1_000 }
    await withFace(
      async ({ core, face, url }) => {
        const sizes = [9, 17, 13]
        const sockets: Socket[] = []
        for (const [at, megabytes] of sizes.entries()) {
          const { body, headers } = modern('tools/call', { name: 't' }, at)
          sockets.push(await postWithoutReading(url, body, headers))
          const call = await core.next()
          call.result(`{"content":[],"filler":"${'x'.repeat(megabytes * 1024 * 1024)}"}`)
        }
        await expect.poll(() => face.bufferedBytes).toBeGreaterThan(0)
        let before = face.bufferedBytes
        for (const level of [1, 2] as const) {
          load.level = level
          face.relieve()
          expect(face.bufferedBytes).toBe(before)
        }
        load.level = 3
        for (const _ of sizes) {
          face.relieve()
          expect(face.bufferedBytes).toBeLessThan(before)
          before = face.bufferedBytes
        }
        expect(before).toBe(0)
        for (const socket of sockets) socket.destroy()
      },
      { load },
    )
  })

  verifies(['F60'], 'leaves progress out and ends idle sessions sooner', async () => {
    const load = { level: 1 as LoadLevel, retryAfterMs: () => 1_000 }
    await withFace(
      async ({ core, face, time, url }) => {
        load.level = 0
        await openFaceSession(url)
        load.level = 1
        const { body, headers } = modern('tools/call', { name: 't' }, 1, { progressToken: 1 })
        const answer = rawPost(url, body, headers)
        const call = await core.next()
        call.progress('{"progressToken":1,"progress":1}')
        call.result('{"content":[]}')
        expect((await answer).messages).toHaveLength(1)
        time.advance(LIMITS.sessionIdleMs / 6 - 1)
        face.relieve()
        expect(face.sessions).toBe(1)
        time.advance(1)
        face.relieve()
        expect(face.sessions).toBe(0)
      },
      { load },
    )
  })
})

describe('the gauge', () => {
  test('reads heap and descriptors as shares of their limits, and how late the loop is', async () => {
    await ensureBuilt()
    const script = `
      import { ProcessGauge } from ${JSON.stringify(pathToFileURL(join(ROOT, 'dist/host/index.js')).href)}
      import { openSync } from 'node:fs'
      const gauge = new ProcessGauge()
      gauge.start()
      const wait = ms => new Promise(resolve => setTimeout(resolve, ms))
      await wait(300)
      const calm = gauge.read()
      const ballast = []
      // What a collection leaves: a megabyte at a time that costs it nothing to look at.
      const missing = () => { gc(); return Math.ceil(57 - process.memoryUsage().heapUsed / 1048576) }
      for (let n = missing(); n > 0; n = missing()) while (n-- > 0) ballast.push(new Array(131_072).fill(0.5))
      for (let i = 0; i < 100; i += 1) openSync('/dev/null')
      gauge.read()
      await wait(100)
      const end = performance.now() + 400
      while (performance.now() < end);
      await wait(100)
      const busy = gauge.read()
      gauge.stop()
      console.log(JSON.stringify({ calm, busy, limit: gauge.heapLimitBytes, fds: gauge.fdLimit, n: ballast.length }))`
    const file = join(freshFolder('gauge'), 'gauge.mjs')
    writeFileSync(file, script)
    const out = execFileSync(process.execPath, ['--expose-gc', '--max-old-space-size=64', file], {
      encoding: 'utf8',
    })
    const { calm, busy, limit, fds } = JSON.parse(out)
    expect(limit).toBe(64 * 1024 * 1024)
    expect(calm.heap).toBeLessThan(0.5)
    expect(busy.heap).toBeGreaterThan(0.85)
    expect(busy.heap).toBeLessThan(1)
    expect(busy.loopDelayMs).toBeGreaterThan(250)
    expect(LIMITS.loadSampleMs).toBe(250)
    if (fds !== null) expect((busy.fds - calm.fds) * fds).toBeCloseTo(100, -1)
  })
})
