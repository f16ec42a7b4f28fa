import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { createApp } from '../../src/app.js'
import { readConfigObject } from '../../src/config/index.js'
import { nodeHost } from '../../src/host/index.js'
import { createGateway, type Gateway } from '../../src/index.js'
import type { LogRecord } from '../../src/observe/index.js'
import { Runtime } from '../../src/runtime/gateway.js'
import type { Connection, Host } from '../../src/runtime/ports.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { blackHole, closedPort } from '../kit/ports.js'
import { assertNoneLeft, findProcesses } from '../kit/processes.js'
import { rawPost, rawStream } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { modern, openSession } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'
import { freshMark, marked, OBEDIENT } from './stopping-shared.js'

const open: Gateway[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map(gateway => gateway.close()))
})

async function make(fake: Fake, mark: string, holdfast = {}): Promise<Gateway> {
  const gateway = await createGateway({ mcpServers: { fake: marked(fake, mark) }, holdfast })
  open.push(gateway)
  return gateway
}

describe('a gateway in a program', () => {
  verifies(['R201'], 'may be closed before it was started, and twice; then it starts nothing any more', () =>
    withFakes([OBEDIENT], async fake => {
      const mark = freshMark()
      const gateway = await make(fake, mark)
      await Promise.all([gateway.close(), gateway.close()])
      await gateway.close()
      await expect(gateway.listen({ port: 0 })).rejects.toMatchObject({ code: 'UPSTREAM_REMOVED' })
      await expect(gateway.callTool('fake__echo')).rejects.toMatchObject({ phase: 'never-sent' })
      expect((await gateway.listTools()).unavailable).toMatchObject([
        { upstream: 'fake', reason: 'the gateway is stopping' },
      ])
      await delay(100)
      expect(fake.records.spawns).toBe(0)
    }),
  )

  verifies(['R201', 'F65'], 'may be started again after a start that failed, and listens once', () =>
    withFakes([OBEDIENT], async fake => {
      const mark = freshMark()
      const gateway = await make(fake, mark)
      const holder = createServer().listen(0, '127.0.0.1')
      await new Promise(resolve => holder.once('listening', resolve))
      const { port } = holder.address() as AddressInfo
      await expect(gateway.listen({ port })).rejects.toThrow(`port ${port} is in use`)
      expect(fake.records.spawns).toBe(0)
      await new Promise(resolve => holder.close(resolve))
      const { url } = await gateway.listen({ port })
      await expect(gateway.listen({ port: 0 })).rejects.toThrow('listens on')
      expect((await gateway.callTool('fake__echo', { a: 1 }))['structuredContent']).toEqual({ a: 1 })
      const stateless = modern('server/discover')
      expect((await rawPost(url, stateless.body, stateless.headers)).status).toBe(200)
      await gateway.close()
      await assertNoneLeft(mark)
    }),
  )

  verifies(
    ['R201', 'R198'],
    'that is closed while its socket opens or its servers start leaves nothing',
    () =>
      withFakes(
        [{ transport: 'stdio', script: { faults: [{ on: 'start', do: { kind: 'hang' } }] } }],
        async hung => {
          const mark = freshMark()
          // All of the time is kept for ending servers, and none for calls.
          const gateway = await make(hung, mark, { shutdownTimeout: '6s' })
          const listening = gateway.listen({ port: 0 })
          const failed = expect(listening).rejects.toMatchObject({ code: 'UPSTREAM_REMOVED' })
          await gateway.close()
          await failed
          const other = await make(hung, mark, { shutdownTimeout: '6s' })
          const refused = expect(other.callTool('fake__echo')).rejects.toMatchObject({ phase: 'never-sent' })
          await hung.records.waitFor(({ spawns }) => spawns === 1)
          await other.close()
          await refused
          await assertNoneLeft(mark)
          await delay(200)
          expect(hung.records.spawns).toBe(1)
        },
      ),
  )
})

/** The machine, with a look at every timer that is pending. */
function watchedHost(state: string) {
  const host = nodeHost({ stateFolder: state })
  const pending = new Map<object, string>()
  const watched: Host = {
    ...host,
    clock: {
      now: () => host.clock.now(),
      wallTime: () => host.clock.wallTime(),
      after: (ms, fn) => {
        const key = {}
        pending.set(key, `${ms} ms ${new Error().stack?.split('\n')[2]?.trim() ?? ''}`)
        const timer = host.clock.after(ms, () => {
          pending.delete(key)
          fn()
        })
        return {
          cancel: () => {
            pending.delete(key)
            timer.cancel()
          },
        }
      },
    },
  }
  return { host: watched, pending }
}

describe('after a stop', () => {
  verifies(
    ['R202', 'R198'],
    'no timer, socket, file or process is left, and status still tells what was',
    () =>
      withFakes(
        [
          OBEDIENT,
          { transport: 'http', script: { eras: 'modern', builtins: ['echo'] } },
          { transport: 'http' },
        ],
        async (child, remote, session) => {
          const mark = freshMark()
          const hole = await blackHole()
          const state = freshFolder('state')
          const { host, pending } = watchedHost(state)
          const log: LogRecord[] = []
          const reading = readConfigObject(
            {
              mcpServers: {
                child: marked(child, mark),
                remote: remote.entry,
                session: session.entry,
                dark: { url: hole.url },
                refused: { url: `http://127.0.0.1:${await closedPort()}/mcp` },
              },
            },
            { env: {}, baseDir: process.cwd() },
          )
          const sockets = () => process.getActiveResourcesInfo().filter(name => /TCP|Pipe|Process/.test(name))
          const before = sockets().length
          const app = createApp({ reading, configPath: null, log: record => log.push(record), host })
          const { url } = await app.listen({ port: 0 })
          const up = () => app.status().upstreams.filter(({ state: its }) => its === 'ready').length
          await expect.poll(up).toBe(3)
          await expect.poll(() => readdirSync(join(state, 'children')).length).toBe(1)
          const { headers } = await openSession(`${url}/mcp`)
          const stream = await rawStream(`${url}/mcp`, { method: 'GET', headers })
          await app.close()
          expect(await stream.next()).toBeNull()
          expect(readdirSync(join(state, 'children'))).toEqual([])
          expect(findProcesses(mark)).toEqual([])
          expect([...pending.values()]).toEqual([])
          const { gateway, upstreams } = app.status()
          expect(gateway.draining).toBe(true)
          expect(upstreams.map(({ state: its }) => its)).toEqual(Array(5).fill('stopped'))
          expect(upstreams[4]?.lastError?.message).toContain('connection refused')
          expect(upstreams[0]?.catalog.tools).toBeGreaterThan(0)
          await hole.close()
          await expect.poll(() => sockets().length).toBeLessThanOrEqual(before)
        },
      ),
  )
})

/** A server whose end goes wrong in one way. */
function connectionThat(close: () => Promise<void>): Connection {
  return {
    transport: 'stdio',
    era: 'legacy',
    protocolVersion: 'x',
    serverInfo: null,
    capabilities: {},
    instructions: null,
    pid: null,
    inFlight: 0,
    request: () => ({ cancel: () => undefined }),
    close,
    destroy: () => undefined,
  }
}

describe('a server that cannot be stopped', () => {
  test('does not keep the others from it, and is named with the reason', async () => {
    const closed: string[] = []
    const ends: Record<string, () => Promise<void>> = {
      stuck: () => Promise.reject(new Error('its process group 7 is still there after SIGKILL')),
      good: async () => void closed.push('good'),
      throws: () => Promise.reject('no error at all'),
      last: async () => void closed.push('last'),
    }
    const { upstreams } = readConfigObject(
      { mcpServers: Object.fromEntries(Object.keys(ends).map(name => [name, { command: 'x' }])) },
      { env: {}, baseDir: '/' },
    )
    const runtime = new Runtime({
      host: nodeHost(),
      connectors: ({ name }) => ({ open: async () => connectionThat(ends[name] as () => Promise<void>) }),
      upstreams,
      info: { name: 'h', title: 'H', version: '0' },
      events: { stderr: () => undefined, warning: () => undefined },
    })
    runtime.boot()
    const ready = () => [...runtime.snapshot.upstreams.values()].every(view => view.state === 'ready')
    await expect.poll(ready).toBe(true)
    expect(await runtime.stop()).toEqual([
      { upstream: 'stuck', reason: 'its process group 7 is still there after SIGKILL' },
      { upstream: 'throws', reason: 'no error at all' },
    ])
    expect(closed).toEqual(['good', 'last'])
    expect(await runtime.stop()).toEqual([])
  })
})
