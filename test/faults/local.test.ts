import { spawnSync } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { freshMark, marked, OBEDIENT, startGateway } from '../acceptance/stopping-shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { assertNoneLeft } from '../kit/processes.js'
import { type RawResponse, rawPost } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { modern, openSession, rpc } from '../kit/scripted-core.js'
import { verifies } from '../kit/verifies.js'

/** The soft limit on descriptors of a running process. */
function limitDescriptors(pid: number, limit: number): void {
  const { status, stderr } = spawnSync('prlimit', [`--nofile=${limit}:`, '--pid', String(pid)], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`prlimit: ${stderr}`)
}

function call(gateway: TestGateway, headers: Readonly<Record<string, string>>, tool: string, args = {}) {
  return rawPost(gateway.url, rpc('tools/call', { name: tool, arguments: args }), headers)
}

function failureIn(answer: RawResponse): Record<string, unknown> {
  return JSON.parse(answer.messages[0] ?? '{}').result?._meta?.['dev.holdfast/failure'] ?? {}
}

/** Gateways of which one has to be asked before it looks at its descriptors. */
const TRIES = 5

describe('a machine without descriptors', () => {
  verifies(
    ['F58'],
    'is named as the cause, for children and for remotes, and all is well again when there are some',
    () =>
      withFakes([OBEDIENT, { transport: 'http', script: { builtins: ['echo'] } }], async (child, remote) => {
        const mark = freshMark()
        const mcpServers = {
          child: { ...marked(child, mark), holdfast: { lazy: true } },
          remote: { ...remote.entry, holdfast: { lazy: true } },
        }
        const gateways: TestGateway[] = []
        const told = new Map<string, string>()
        // Once a gateway has seen its lack it takes no new calls at all; then the next one is asked what is left to ask.
        while (told.size < 2) {
          if (gateways.length === TRIES) throw new Error(`not asked in time, ${TRIES} times`)
          await gateways.at(-1)?.stop()
          const env = { HOLDFAST_STATE_DIR: freshFolder('state') }
          const next = await startGateway({ mcpServers }, { env })
          gateways.push(next)
          for (const [name, answer] of await withoutDescriptors(next, told)) told.set(name, answer)
        }
        const gateway = gateways.at(-1) as TestGateway
        for (const [name, answer] of told) {
          expect(answer, name).toContain('no file descriptors left (EMFILE)')
          expect(answer, name).toContain('"kind":"unavailable"')
          expect(answer, name).not.toContain('misconfigured')
        }
        expect(gateway.running).toBe(true)
        await gateway.waitFor(status => status.gateway.load?.level === 0, 20_000)
        const { headers } = await openSession(gateway.url)
        await expect
          .poll(async () => (await call(gateway, headers, 'child__echo')).text, {
            timeout: 15_000,
            interval: 500,
          })
          .toContain('"content":[{"type":"text","text":"{}"}]')
        await expect
          .poll(async () => (await call(gateway, headers, 'remote__echo')).text, {
            timeout: 15_000,
            interval: 500,
          })
          .toContain('"content":[{"type":"text","text":"{}"}]')
        expect(await gateway.stop()).toBe(0)
        expect(gateway.stderr).not.toContain('fault of the gateway')
        await assertNoneLeft(mark)
      }),
  )

  verifies(['F58'], 'takes no connections, and takes them again when there are descriptors', () =>
    withFakes([{ transport: 'http', script: { builtins: ['echo'] } }], async remote => {
      const gateway = await startGateway({ mcpServers: { remote: remote.entry } })
      await gateway.settled()
      limitDescriptors(gateway.pid, 40)
      const { hostname, port } = new URL(gateway.url)
      const sockets: Socket[] = []
      let dropped = 0
      for (let at = 0; at < 60; at++) {
        const socket = connect(Number(port), hostname)
        socket.on('error', () => {})
        socket.on('close', () => dropped++)
        sockets.push(socket)
      }
      await expect.poll(() => dropped).toBeGreaterThan(0)
      expect(gateway.running).toBe(true)
      for (const socket of sockets) socket.destroy()
      await expect
        .poll(() =>
          gateway.upstream('remote').then(
            ({ state }) => state,
            () => 'unreachable',
          ),
        )
        .toBe('ready')
      expect((await gateway.upstream('remote')).restarts).toBe(0)
      limitDescriptors(gateway.pid, 1_024)
      expect(await gateway.stop()).toBe(0)
    }),
  )
})

/** What servers answer to a call, except those whose answer is known, as long as the gateway takes calls. */
async function withoutDescriptors(
  gateway: TestGateway,
  known: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const told = new Map<string, string>()
  // Enough for the client's own connection and no more.
  const kept = await holdDescriptors(gateway)
  try {
    for (const name of ['child', 'remote'].filter(each => !known.has(each))) {
      const answer = await kept.call(`${name}__echo`)
      if (/gateway is overloaded|connection closed/.test(answer)) break
      told.set(name, answer)
    }
  } finally {
    kept.release()
  }
  return told
}

/** Takes every descriptor of the gateway but those of one connection with a session, which can still call. */
async function holdDescriptors(gateway: TestGateway) {
  const { hostname, port, pathname } = new URL(gateway.url)
  const { headers } = await openSession(gateway.url)
  const socket = connect(Number(port), hostname)
  await new Promise(resolve => socket.once('connect', resolve))
  socket.on('error', () => {})
  // It may be closed between two calls as well as in one.
  const closed = new Promise<string>(resolve => socket.once('close', () => resolve('connection closed')))
  let text = ''
  let look = () => {}
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    look()
  })
  const ask = (method: string, params = {}) =>
    new Promise<string>(resolve => {
      text = ''
      look = () => {
        if (/\r\n\r\n[\s\S]*"id":1/.test(text)) resolve(text)
      }
      const body = rpc(method, params)
      const lines = [
        `POST ${pathname} HTTP/1.1`,
        `host: ${hostname}:${port}`,
        `content-length: ${body.length}`,
        ...Object.entries(headers).map(([key, value]) => `${key}: ${value}`),
      ]
      socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
    })
  // The kernel may have made the connection while the gateway has not taken it yet.
  await ask('ping')
  // Descriptors below the ones in use cannot be taken away, and none above them is given out.
  limitDescriptors(gateway.pid, 4)
  return {
    call: (name: string) => Promise.race([closed, ask('tools/call', { name, arguments: {} })]),
    release: () => {
      limitDescriptors(gateway.pid, 1_024)
      socket.destroy()
    },
  }
}

describe('a gateway that was stopped for a while', () => {
  verifies(
    ['F56', 'K142'],
    'blames nobody for it: calls have their whole time, and every server stays as it was',
    () =>
      withFakes(
        [OBEDIENT, { transport: 'http', script: { builtins: ['sleep', 'echo'] } }],
        async (child, remote) => {
          const mark = freshMark()
          const timeouts = { requestTimeout: '3s', totalTimeout: '6s' }
          const gateway = await startGateway({
            mcpServers: {
              child: { ...marked(child, mark), holdfast: timeouts },
              remote: { ...remote.entry, holdfast: timeouts },
            },
          })
          await gateway.settled()
          const stateless = (name: string) => {
            const { body, headers } = modern('tools/call', { name, arguments: { ms: 2_000 } })
            return rawPost(gateway.url, body, headers)
          }
          const calls = [stateless('child__sleep'), stateless('remote__sleep')]
          await child.records.waitFor(records => records.runs('sleep') === 1)
          await remote.records.waitFor(records => records.runs('sleep') === 1)
          gateway.signal('SIGSTOP')
          await delay(8_000)
          gateway.signal('SIGCONT')
          for (const answer of await Promise.all(calls)) {
            expect(failureIn(answer)).toEqual({})
            expect(answer.text).toContain('slept 2000 ms')
          }
          expect(gateway.stderr).toMatch(/The gateway stood still for [78]\.\d s/)
          const { upstreams } = await gateway.status()
          expect(upstreams.map(({ state, restarts }) => [state, restarts])).toEqual([
            ['ready', 0],
            ['ready', 0],
          ])
          await gateway.stop()
          await assertNoneLeft(mark)
        },
      ),
  )
})
