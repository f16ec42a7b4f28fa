import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import {
  freshMark,
  marked,
  OBEDIENT,
  runProgram,
  STUBBORN,
  startGateway,
} from '../acceptance/stopping-shared.js'
import { withFakes } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { assertNoneLeft, findProcesses, isAlive, markedEnvironment, waitForExit } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { slowness, within } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'

const stateDir = () => freshFolder('state')
const lists = (state: string) => {
  const folder = join(state, 'children')
  return existsSync(folder) ? readdirSync(folder) : []
}
const inState = (state: string) => ({ env: { HOLDFAST_STATE_DIR: state } })

/** Resolves when the list on disk names that many children. */
async function listed(state: string, count: number) {
  const children = () =>
    lists(state).flatMap(name => JSON.parse(readFileSync(join(state, 'children', name), 'utf8')).children)
  await expect.poll(() => children().length).toBe(count)
  return children() as { pid: number; start: string }[]
}

async function crash(gateway: TestGateway): Promise<void> {
  gateway.signal('SIGKILL')
  await waitForExit(gateway.pid)
}

describe('after kill -9 of the gateway', () => {
  verifies(
    ['F16', 'R200'],
    'children end by themselves, and those that do not are ended by group at the next start, before their heirs begin',
    () =>
      withFakes([OBEDIENT, STUBBORN], async (obedient, stubborn) => {
        const state = stateDir()
        const [mark, heirs] = [freshMark(), freshMark()]
        const servers = (of: string) => ({
          obedient: marked(obedient, of),
          stubborn: marked(stubborn, of),
          // Its launcher is gone and the rest of its group lives on.
          launcher: marked({ command: '/bin/sh', args: ['-c', 'trap "" TERM; sleep 300 & exec cat'] }, of),
        })
        const first = await startGateway({ mcpServers: servers(mark) }, inState(state))
        await first.waitForState('obedient', 'ready')
        await first.waitForState('stubborn', 'ready')
        const children = await listed(state, 3)
        await crash(first)
        const [obedientPid = 0] = obedient.records.pids
        await waitForExit(obedientPid)
        // The stubborn one, its grandchild, and what the launcher left.
        await expect.poll(() => findProcesses(mark).length).toBe(3)
        expect(children.map(({ pid }) => pid)).toContain(obedientPid)

        const before = await slowness()
        const second = await startGateway({ mcpServers: servers(heirs) }, inState(state))
        expect(second.readyMs / Math.max(before, await slowness())).toBeLessThan(2_000)
        await second.waitForState('stubborn', 'ready')
        expect(findProcesses(mark)).toEqual([])
        expect(second.stderr).toContain('A gateway that crashed')
        expect(lists(state)).toHaveLength(1)
        await second.stop()
        expect(lists(state)).toEqual([])
        await assertNoneLeft(heirs)
      }),
  )

  verifies(
    ['F16'],
    'nobody else is touched: not a foreign process under a listed number, not the children of a gateway that lives',
    () =>
      withFakes([STUBBORN, STUBBORN], async (crashed, other) => {
        const state = stateDir()
        const [mark, others] = [freshMark(), freshMark()]
        const living = await startGateway({ mcpServers: { other: marked(other, others) } }, inState(state))
        await living.settled()
        const doomed = await startGateway({ mcpServers: { crashed: marked(crashed, mark) } }, inState(state))
        await doomed.settled()
        await listed(state, 2)
        await crash(doomed)
        // The number of the dead gateway's child, given to somebody who started at another time.
        const foreign = spawn('/bin/sh', ['-c', 'while :; do sleep 0.1; done'], {
          detached: true,
          stdio: 'ignore',
          env: { ...process.env, ...markedEnvironment() },
        })
        const [name = ''] = lists(state).filter(file => file.startsWith(`${doomed.pid}-`))
        const path = join(state, 'children', name)
        const list = JSON.parse(readFileSync(path, 'utf8'))
        list.children.push({ ...list.children[0], pid: foreign.pid })
        writeFileSync(path, JSON.stringify(list))
        const next = await startGateway({ mcpServers: { other: marked(other, others) } }, inState(state))
        try {
          await next.settled()
          await assertNoneLeft(mark)
          expect(isAlive(foreign.pid ?? 0)).toBe(true)
          expect((await living.upstream('other')).restarts).toBe(0)
          expect(findProcesses(others)).toHaveLength(4)
        } finally {
          process.kill(-(foreign.pid ?? 0), 'SIGKILL')
          await Promise.all([next.stop(), living.stop()])
        }
        await assertNoneLeft(others)
        expect(lists(state)).toEqual([])
      }),
  )

  verifies(
    ['F16', 'R199', 'R200'],
    'a program around the library is no different, and its servers are ended by whichever gateway comes next',
    () =>
      withFakes([STUBBORN], async stubborn => {
        const state = stateDir()
        const mark = freshMark()
        const config = JSON.stringify({ mcpServers: { fake: marked(stubborn, mark) } })
        const program = await runProgram(
          `const gateway = await createGateway(${config})
           await gateway.callTool('fake__echo', {})
           console.log('called')
           setInterval(() => {}, 1000)`,
          { HOLDFAST_STATE_DIR: state },
        )
        await expect.poll(() => program.stdout, { timeout: 10_000 }).toBe('called\n')
        await listed(state, 1)
        // A program without a handler dies of SIGTERM as of SIGKILL: nothing of it runs any more.
        program.signal('SIGTERM')
        expect((await program.exit).signal).toBe('SIGTERM')
        expect(findProcesses(mark)).toHaveLength(2)
        const next = await startGateway({ mcpServers: {} }, inState(state))
        await within(5_000, assertNoneLeft(mark))
        await next.stop()
      }),
  )
})

describe('the state folder', () => {
  const spoiled: [string, (state: string) => string][] = [
    ['cannot be made', () => '/proc/no-such-folder/holdfast'],
    [
      'is a file',
      state => {
        writeFileSync(join(state, 'file'), '')
        return join(state, 'file')
      },
    ],
    [
      'holds lists that are corrupt',
      state => {
        mkdirSync(join(state, 'children'))
        for (const [at, text] of ['', '{"version":1,', '\0\0\0', '[]'].entries())
          writeFileSync(join(state, 'children', `${at}-${'c'.repeat(32)}.json`), text)
        return state
      },
    ],
  ]
  for (const [how, spoil] of spoiled) {
    verifies(['F59'], `that ${how} costs a warning and nothing else`, () =>
      withFakes([OBEDIENT], async child => {
        const mark = freshMark()
        const gateway = await startGateway(
          { mcpServers: { fake: marked(child, mark) } },
          inState(spoil(stateDir())),
        )
        await gateway.waitForState('fake', 'ready')
        const { upstreams } = await gateway.status()
        expect(upstreams.map(({ restarts }) => restarts)).toEqual([0])
        const warned = () => gateway.log.filter(line => typeof line === 'object' && line['level'] === 'warn')
        await expect.poll(() => warned().length).toBeGreaterThanOrEqual(1)
        expect(warned().length).toBeLessThanOrEqual(5)
        expect(await gateway.stop()).toBe(0)
        await assertNoneLeft(mark)
      }),
    )
  }

  verifies(
    ['F59'],
    'on a full disk costs a warning and nothing else, and is used again when there is room',
    () =>
      withFakes([{ transport: 'http', script: { builtins: ['echo'] } }], async remote => {
        const state = stateDir()
        mkdirSync(join(state, 'children'))
        const mark = freshMark()
        const silent = { command: '/bin/sh', args: ['-c', 'while read line; do :; done'] }
        // Files may not grow beyond nothing: each write fails, as it does where no block is free.
        const gateway = await startGateway(
          { mcpServers: { silent: marked(silent, mark), remote: remote.entry } },
          { ...inState(state), prefix: ['prlimit', '--fsize=0:'] },
        )
        await gateway.waitForState('remote', 'ready')
        await expect.poll(() => gateway.stderr).toContain('The list of child processes cannot be kept (EFBIG')
        expect([lists(state), findProcesses(mark).length]).toEqual([[], 1])
        spawnSync('prlimit', ['--fsize=1000000:', '--pid', String(gateway.pid)])
        for (const { pid } of findProcesses(mark)) process.kill(pid, 'SIGKILL')
        await listed(state, 1)
        expect(await gateway.stop()).toBe(0)
        expect(gateway.stderr.split('cannot be kept')).toHaveLength(2)
        expect(lists(state)).toEqual([])
        await assertNoneLeft(mark)
      }),
  )
})
