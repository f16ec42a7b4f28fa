import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { CLI, ROOT } from '../kit/build.js'
import { gatewayOnStdio } from '../kit/clients.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { runCommand, type TestGateway, writeConfig } from '../kit/gateway.js'
import { blackHole } from '../kit/ports.js'
import { assertNoneLeft, findProcesses } from '../kit/processes.js'
import { openPipe } from '../kit/raw-stdio.js'
import { hello, rpc } from '../kit/scripted-core.js'
import { expectWithin, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import {
  expectOutcomeUnknown,
  freshMark,
  hangingCalls,
  marked,
  OBEDIENT,
  runProgram,
  STUBBORN,
  startGateway,
} from './stopping-shared.js'

const HTTP = { transport: 'http', script: { builtins: ['sleep', 'echo'] } } as const

async function timed(work: Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work
  return performance.now() - start
}

describe('a stop', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    verifies(
      ['R194', 'F64'],
      `by ${signal} lets calls run for their time, then answers each, then ends sessions and servers, and exits 0`,
      () =>
        withFakes([HTTP, OBEDIENT], async (remote, child) => {
          const mark = freshMark()
          const gateway = await startGateway({
            mcpServers: { fake: remote.entry, child: marked(child, mark) },
            holdfast: { shutdownTimeout: '8s' },
          })
          await gateway.settled()
          const answers = await hangingCalls(gateway, remote)
          const onChild = await hangingCalls(gateway, child, 'child')
          const start = Date.now()
          const stopping = gateway.stop(signal)
          await expectOutcomeUnknown(answers)
          await expectOutcomeUnknown(onChild)
          // Of 8 s, 6 are kept for the ladder.
          expect(Date.now() - start).toBeGreaterThan(1_800)
          expect(await stopping).toBe(0)
          expect(Date.now() - start).toBeLessThan(8_500)
          await assertNoneLeft(mark)
          const [deleted] = remote.records.ofKind('session-end')
          expect(deleted?.how).toBe('delete')
          expect(child.records.ofKind('stdin-end')[0]?.at).toBeGreaterThan(start + 1_500)
          expect([remote.records.runs('sleep'), child.records.runs('sleep')]).toEqual([2, 2])
        }),
    )
  }

  verifies(
    ['R194'],
    'takes nothing new: the door is closed, and a connection that stands is refused and ended',
    () =>
      withFakes([HTTP], async remote => {
        const gateway = await startGateway({
          mcpServers: { fake: remote.entry },
          holdfast: { shutdownTimeout: '8s' },
        })
        await gateway.settled()
        const standing = await openKept(gateway)
        await standing.ask(rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {} }))
        const busy = standing.ask(
          rpc('tools/call', { name: 'fake__sleep', arguments: { ms: 1_000 } }, 5),
          standing.session(),
        )
        await remote.records.waitFor(records => records.runs('sleep') === 1)
        const exit = gateway.stop()
        await expect.poll(() => refused(gateway)).toBe('ECONNREFUSED')
        expect(await busy).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*slept 1000 ms/i)
        await standing.closed
        expect(await exit).toBe(0)
      }),
  )

  verifies(['R194', 'F64'], 'cuts off no answer that a slow client is still reading', () =>
    withFakes([{ transport: 'http', script: { builtins: ['big'] } }], async remote => {
      const gateway = await startGateway({ mcpServers: { fake: remote.entry } })
      await gateway.settled()
      const slow = await openKept(gateway)
      await slow.ask(rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {} }))
      const session = slow.session()
      slow.pause()
      const bytes = 12 * 1024 * 1024
      const answer = slow.ask(rpc('tools/call', { name: 'fake__big', arguments: { bytes } }, 5), session)
      await remote.records.waitFor(records => records.runs('big') === 1)
      // Long enough for the answer to be written as far as the pipes take it.
      await delay(1_000)
      const exit = gateway.stop()
      await delay(500)
      slow.resume()
      const text = await answer
      const [, length = '0'] = /content-length: (\d+)/i.exec(text) ?? []
      expect(Number(length)).toBeGreaterThan(bytes)
      expect(text.length - text.indexOf('\r\n\r\n') - 4).toBe(Number(length))
      expect(await exit).toBe(0)
    }),
  )

  verifies(
    ['R195', 'F14'],
    'takes one ladder for ten children that ignore the end of their input and SIGTERM, not ten',
    () =>
      withFakes([STUBBORN], async stubborn => {
        const mark = freshMark()
        const entry = marked(stubborn, mark)
        const gateway = await startGateway({
          mcpServers: Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`s${at}`, entry])),
        })
        await gateway.waitFor(status => status.upstreams.every(({ state }) => state === 'ready'), 20_000)
        expect(findProcesses(mark).length).toBeGreaterThanOrEqual(20)
        const took = await timed(gateway.stop())
        expect(took).toBeGreaterThan(4_500)
        expect(took).toBeLessThan(8_000)
        await assertNoneLeft(mark, 0)
      }),
  )

  verifies(
    ['R196', 'F14', 'F15'],
    'sends no signal to a child that leaves by itself, ends one that does not, and grandchildren too',
    () =>
      withFakes(
        [OBEDIENT, { transport: 'stdio', script: { ignoreStdinEnd: true, grandchild: true } }, STUBBORN],
        async (obedient, deaf, stubborn) => {
          const mark = freshMark()
          const gateway = await startGateway({
            mcpServers: {
              obedient: marked(obedient, mark),
              deaf: marked(deaf, mark),
              stubborn: marked(stubborn, mark),
            },
          })
          await gateway.settled()
          expect(findProcesses(mark)).toHaveLength(5)
          expect(await gateway.stop()).toBe(0)
          await assertNoneLeft(mark, 0)
          const heard = (fake: Fake) => [
            fake.records.ofKind('stdin-end').length,
            fake.records.ofKind('sigterm').length,
          ]
          expect([obedient, deaf, stubborn].map(heard)).toEqual([
            [1, 0],
            [1, 1],
            [1, 1],
          ])
        },
      ),
  )

  verifies(
    ['R198'],
    'comes at once while servers start, wait for their next try or for their turn, and starts nothing after it',
    () =>
      withFakes(
        [
          { transport: 'stdio', script: { faults: [{ on: 'start', do: { kind: 'hang' } }] } },
          {
            transport: 'stdio',
            script: { faults: [{ on: 'start', do: { kind: 'crash', code: 3, stderr: 'no database' } }] },
          },
          OBEDIENT,
        ],
        async (hung, crashing, lazy) => {
          const hole = await blackHole()
          const mark = freshMark()
          const many = Array.from({ length: 12 }, (_, at) => [`hung${at}`, marked(hung, mark)])
          const gateway = await startGateway({
            mcpServers: {
              ...Object.fromEntries(many),
              crashing: marked(crashing, mark),
              dark: { url: hole.url },
              lazy: { ...marked(lazy, mark), holdfast: { lazy: true } },
            },
          })
          try {
            await hung.records.waitFor(records => records.spawns >= 8)
            await gateway.waitForState('hung11', 'starting')
            await within(2_000, gateway.stop())
            await assertNoneLeft(mark)
            const spawned = () => [hung, crashing, lazy].map(fake => fake.records.spawns)
            const before = spawned()
            await delay(500)
            expect(spawned()).toEqual(before)
            expect(lazy.records.spawns).toBe(0)
          } finally {
            await hole.close()
          }
        },
      ),
  )

  verifies(
    ['R198', 'F15'],
    'finds a launcher gone at once, also where its grandchild keeps the pipes, and leaves none of them',
    async () => {
      const mark = freshMark()
      const shell = (script: string) => marked({ command: '/bin/sh', args: ['-c', script] }, mark)
      const gateway = await startGateway({
        mcpServers: {
          leaves: shell('sleep 60 & exit 7'),
          stays: shell('sleep 60 & wait'),
        },
      })
      const { lastError } = await within(2_000, gateway.waitForState('leaves', 'backoff'))
      expect(lastError?.message).toContain('exited with code 7')
      // What the launcher left is gone long before any stop.
      await expect.poll(() => findProcesses(mark).length).toBe(2)
      await within(2_000, gateway.stop())
      await assertNoneLeft(mark)
    },
  )

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    verifies(
      ['R200', 'F64'],
      `by a second ${signal} ends everything within a second, and whoever waits is still told that the outcome is unknown`,
      () =>
        withFakes([STUBBORN, HTTP], async (stubborn, remote) => {
          const mark = freshMark()
          const gateway = await startGateway({
            mcpServers: { fake: marked(stubborn, mark), remote: remote.entry },
          })
          await gateway.settled()
          const answers = await hangingCalls(gateway, stubborn)
          const remotely = await hangingCalls(gateway, remote, 'remote')
          gateway.signal(signal)
          await expect.poll(() => refused(gateway)).toBe('ECONNREFUSED')
          const took = timed(gateway.exit)
          gateway.signal(signal)
          await expectOutcomeUnknown(answers)
          await expectOutcomeUnknown(remotely)
          await expectWithin(await took, 1_000)
          expect(await gateway.exit).toEqual({ code: 130, signal: null })
          await assertNoneLeft(mark)
          expect(stubborn.records.runs('sleep')).toBe(2)
        }),
    )
  }

  verifies(['R200'], 'by a second signal in the middle of the ladder ends it there', () =>
    withFakes([STUBBORN], async stubborn => {
      const mark = freshMark()
      const gateway = await startGateway({ mcpServers: { fake: marked(stubborn, mark) } })
      await gateway.settled()
      gateway.signal('SIGTERM')
      await stubborn.records.waitFor(records => records.ofKind('sigterm').length === 1)
      await within(1_000, gateway.stop('SIGINT'))
      await assertNoneLeft(mark)
    }),
  )

  test('takes no longer than its time, ladder or not', () =>
    withFakes([STUBBORN], async stubborn => {
      const mark = freshMark()
      const gateway = await startGateway({
        mcpServers: { fake: marked(stubborn, mark) },
        holdfast: { shutdownTimeout: '1s' },
      })
      await gateway.settled()
      expect(await timed(gateway.stop())).toBeLessThan(2_500)
      expect(gateway.stderr).toContain('took longer than 1000 ms')
      await assertNoneLeft(mark)
    }))
})

describe('every way in', () => {
  test('is the command that the package installs', () => {
    const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(join(ROOT, bin.holdfast)).toBe(CLI)
  })

  for (const end of ['SIGTERM', 'SIGINT', 'the end of its input'] as const) {
    verifies(
      ['R199', 'F64'],
      `holdfast stdio ends by ${end}: what runs may finish and is answered, servers go, exit 0`,
      () =>
        withFakes([OBEDIENT], async child => {
          const mark = freshMark()
          const config = writeConfig({ mcpServers: { fake: marked(child, mark) } })
          const pipe = openPipe(await gatewayOnStdio({ config }))
          pipe.write(`${hello()}\n`)
          await pipe.next()
          await child.records.waitFor(records => records.spawns === 1)
          pipe.write(`${rpc('tools/call', { name: 'fake__sleep', arguments: { ms: 1_000 } }, 1)}\n`)
          await child.records.waitFor(records => records.runs('sleep') === 1)
          if (end === 'the end of its input') pipe.endInput()
          else pipe.signal(end)
          expect(await pipe.next()).toContain('slept 1000 ms')
          const start = performance.now()
          expect(await pipe.exit).toBe(0)
          await expectWithin(performance.now() - start, 2_000)
          await assertNoneLeft(mark)
          expect(child.records.ofKind('sigterm')).toEqual([])
        }),
    )
  }

  verifies(
    ['R199', 'R200', 'F64'],
    'holdfast stdio takes a signal after the end of its input for a second one',
    () =>
      withFakes([STUBBORN], async stubborn => {
        const mark = freshMark()
        const config = writeConfig({ mcpServers: { fake: marked(stubborn, mark) } })
        const pipe = openPipe(await gatewayOnStdio({ config }))
        pipe.write(`${hello()}\n`)
        await pipe.next()
        pipe.write(`${rpc('tools/call', { name: 'fake__sleep', arguments: { ms: 120_000 } }, 1)}\n`)
        await stubborn.records.waitFor(records => records.runs('sleep') === 1)
        pipe.endInput()
        await delay(200)
        const start = performance.now()
        pipe.signal('SIGTERM')
        expect(await pipe.next()).toContain('outcome_unknown')
        expect(await pipe.exit).toBe(130)
        await expectWithin(performance.now() - start, 1_000)
        await assertNoneLeft(mark)
      }),
  )

  verifies(['R199'], 'holdfast stdio --url ends by a signal while its input stays open', () =>
    withFakes([HTTP], async remote => {
      const gateway = await startGateway({ mcpServers: { fake: remote.entry } })
      const pipe = openPipe(await gatewayOnStdio({ url: gateway.url }))
      pipe.write(`${hello()}\n`)
      await pipe.next()
      const start = performance.now()
      pipe.signal('SIGTERM')
      expect(await pipe.exit).toBe(0)
      await expectWithin(performance.now() - start, 2_000)
      await gateway.stop()
    }),
  )

  verifies(
    ['F55', 'R199'],
    'holdfast stdio ends when nobody reads its output any more, without a spin, and its servers with it',
    () =>
      withFakes([OBEDIENT], async child => {
        const mark = freshMark()
        const config = writeConfig({ mcpServers: { fake: marked(child, mark) } })
        const pipe = openPipe(await gatewayOnStdio({ config }))
        pipe.write(`${hello()}\n`)
        await pipe.next()
        await child.records.waitFor(records => records.spawns === 1)
        pipe.closeOutput()
        const start = performance.now()
        pipe.write(`${rpc('ping', {}, 1)}\n`)
        expect(await pipe.exit).toBe(0)
        await expectWithin(performance.now() - start, 2_000)
        expect(pipe.stderr).not.toContain('fault of the gateway')
        await assertNoneLeft(mark)
      }),
  )

  verifies(
    ['R199'],
    'survives an error that nobody caught, keeps its servers, and stops as ever afterwards',
    () =>
      withFakes([OBEDIENT], async child => {
        const mark = freshMark()
        const thrower = "process.on('SIGUSR2', () => { throw new Error('nobody caught this') })"
        const gateway = await startGateway(
          { mcpServers: { fake: marked(child, mark) } },
          { env: { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(thrower)}` } },
        )
        await gateway.settled()
        const { pid } = await gateway.upstream('fake')
        gateway.signal('SIGUSR2')
        await expect.poll(() => gateway.stderr).toContain('nobody caught this')
        expect((await gateway.upstream('fake')).pid).toBe(pid)
        expect(await gateway.stop()).toBe(0)
        await assertNoneLeft(mark)
      }),
  )

  for (const [how, code, end] of [
    ['closes it', 0, 'await gateway.close()'],
    ['closes it by `await using`', 0, 'await gateway[Symbol.asyncDispose]()'],
    ['exits without a word', 3, 'process.exit(3)'],
    ['throws what nobody catches', 1, "throw new Error('of the program')"],
  ] as const) {
    verifies(['R199'], `a program that ${how} leaves no server of the library behind`, () =>
      withFakes([STUBBORN], async stubborn => {
        const mark = freshMark()
        const config = JSON.stringify({ mcpServers: { fake: marked(stubborn, mark) } })
        const program = await runProgram(`
            const gateway = await createGateway(${config})
            await gateway.callTool('fake__echo', {})
            console.log('called')
            ${end}`)
        expect((await program.exit).code).toBe(code)
        expect(program.stdout).toBe('called\n')
        await assertNoneLeft(mark)
      }),
    )
  }

  verifies(['F65', 'R201'], 'that cannot listen says so in one line, exits 78, and has started nothing', () =>
    withFakes([OBEDIENT, HTTP], async (child, remote) => {
      const holder = await startGateway({ mcpServers: { fake: remote.entry } })
      const config = writeConfig({ mcpServers: { child: child.entry } })
      const serve = (...args: string[]) => runCommand(['serve', '--config', config, ...args])
      const taken = await serve('--port', String(new URL(holder.url).port))
      const nowhere = await serve('--host', '::ffff:192.0.2.1', '--port', '0')
      await holder.stop()
      expect([taken.code, nowhere.code]).toEqual([78, 78])
      expect(taken.stderr.trim().split('\n')).toEqual([
        expect.stringMatching(/port \d+ is in use on 127\.0\.0\.1/),
      ])
      expect(nowhere.stderr.trim().split('\n')).toHaveLength(1)
      expect(child.records.spawns).toBe(0)
    }),
  )
})

/** What a new connection gets. */
function refused(gateway: TestGateway): Promise<string> {
  return new Promise(resolve => {
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname, () => {
      socket.destroy()
      resolve('connected')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
  })
}

/** One kept-alive connection, driven by hand; answers are taken as text, one after the other. */
async function openKept(gateway: TestGateway) {
  const { hostname, port, pathname } = new URL(gateway.url)
  const socket = connect(Number(port), hostname)
  await new Promise(resolve => socket.once('connect', resolve))
  const chunks: string[] = []
  let look = () => {}
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    chunks.push(chunk)
    look()
  })
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  void closed.then(() => look())
  let session = ''
  const whole = () => {
    const text = chunks.join('')
    const [, length] = /content-length: (\d+)/i.exec(text) ?? []
    const end = text.indexOf('\r\n\r\n')
    return end >= 0 && length !== undefined && text.length >= end + 4 + Number(length) ? text : null
  }
  return {
    closed,
    session: () => session,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    ask: (body: string, ofSession = '') =>
      new Promise<string>(resolve => {
        chunks.length = 0
        look = () => {
          const text = whole() ?? (socket.destroyed ? chunks.join('') : null)
          if (text === null) return
          look = () => {}
          session = /mcp-session-id: (\S+)/i.exec(text)?.[1] ?? session
          resolve(text)
        }
        const head = [
          `POST ${pathname} HTTP/1.1`,
          `host: ${hostname}:${port}`,
          'content-type: application/json',
          'accept: application/json, text/event-stream',
          `content-length: ${body.length}`,
          ...(ofSession ? [`mcp-session-id: ${ofSession}`] : []),
        ]
        socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
      }),
  }
}
