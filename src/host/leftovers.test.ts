import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { isAlive, markedEnvironment, waitForExit } from '../../test/kit/processes.js'
import { freshFolder } from '../../test/kit/run-folder.js'
import type { Host } from '../runtime/ports.js'
import { nodeHost, stateFolder } from './index.js'
import type { LedgerFile } from './ledger.js'
import { sweepLeftovers } from './leftovers.js'
import { factsOf, INSTANCE_VARIABLE, livingMembers, pidSpace } from './proc.js'

const OURS = 'a'.repeat(32)
const LONG_AGO = new Date(Date.now() - 8 * 24 * 60 * 60_000)
const started: ChildProcess[] = []

afterEach(() => {
  for (const child of started.splice(0)) {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // It is gone already.
    }
  }
})

/** A process that leads a group of its own, as a child of a gateway does; resolves once it has said that it runs. */
async function leader(
  script: string,
  instance: string | null = OURS,
): Promise<ChildProcess & { pid: number }> {
  const env = {
    PATH: process.env['PATH'],
    ...markedEnvironment(),
    ...(instance ? { [INSTANCE_VARIABLE]: instance } : {}),
  }
  const child = spawn('/bin/sh', ['-c', script], { env, detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
  started.push(child)
  await new Promise(resolve => child.stdout?.once('data', resolve))
  return child as ChildProcess & { pid: number }
}

const STUBBORN = 'trap "" TERM; echo up; while :; do sleep 0.1; done'
const OBEDIENT = 'echo up; while :; do sleep 0.1; done'

/** The tick at which a process started, by which a number is known to be still the same process. */
const startOf = (pid: number) => factsOf(pid)?.start ?? ''

function setUp() {
  const folder = join(freshFolder('sweep'), 'children')
  mkdirSync(folder)
  const warnings: string[] = []
  const space = pidSpace() as string
  const write = (list: Partial<LedgerFile>, name = file(0)) => {
    const whole = {
      version: 1,
      instance: OURS,
      space,
      // Nobody that runs now: this pid had another start.
      gateway: { pid: process.pid, start: '1' },
      children: [],
      ...list,
    }
    writeFileSync(join(folder, name), JSON.stringify(whole))
  }
  const sweep = () => sweepLeftovers({ folder, space, warn: message => warnings.push(message), termMs: 300 })
  const files = () => readdirSync(folder).sort()
  return { folder, warnings, write, sweep, files, space }
}

/** The name of a list, as gateways give them. */
const file = (number: number, end = '') => `${1000 + number}-${String(number).repeat(32)}.json${end}`

const entry = (pid: number, start = startOf(pid)) => ({ pid, start, command: 'server' })

describe('what a crashed gateway has left behind', () => {
  test('is ended by group at the next start, by SIGTERM or else by SIGKILL, and its list goes', async () => {
    const { write, sweep, files, warnings } = setUp()
    const stubborn = await leader(STUBBORN)
    const obedient = await leader(OBEDIENT)
    write({ children: [entry(stubborn.pid), entry(obedient.pid)] })
    await sweep()
    expect(livingMembers(stubborn.pid)).toEqual([])
    expect(livingMembers(obedient.pid)).toEqual([])
    expect(files()).toEqual([])
    expect(warnings).toEqual([
      `A gateway that crashed (${process.pid}) had left servers running; they were ended: server (${stubborn.pid}), server (${obedient.pid}).`,
    ])
  })

  test('includes what a launcher that is gone has started', async () => {
    const { write, sweep, files } = setUp()
    const launcher = await leader('(trap "" TERM; echo up; while :; do sleep 0.1; done) & exit 0')
    const listed = entry(launcher.pid, startOf(launcher.pid) || '1')
    await waitForExit(launcher.pid)
    expect(livingMembers(launcher.pid).length).toBeGreaterThan(0)
    write({ children: [listed] })
    await sweep()
    expect(livingMembers(launcher.pid)).toEqual([])
    expect(files()).toEqual([])
  })

  test.each([
    ['whose number was given to another process since', { start: '12345', instance: OURS }],
    ['that does not carry the mark of that gateway', { instance: 'b'.repeat(32) }],
    ['that carries no mark at all', { instance: null }],
  ])(
    'never means a process %s',
    async (_, { start, instance }: { start?: string; instance: string | null }) => {
      const { write, sweep, files, warnings } = setUp()
      const foreign = await leader(OBEDIENT, instance)
      write({ children: [entry(foreign.pid, start)] })
      await sweep()
      expect(isAlive(foreign.pid)).toBe(true)
      expect([files(), warnings]).toEqual([[], []])
    },
  )

  test('never means a member of somebody else’s group, nor everybody', async () => {
    const { write, sweep, files, warnings } = setUp()
    const foreign = await leader(`(${OBEDIENT}) & wait`)
    const member = livingMembers(foreign.pid).find(pid => pid !== foreign.pid) as number
    write({ children: [entry(member)] })
    write({ children: [entry(1, startOf(1))] }, file(1))
    await sweep()
    expect([isAlive(foreign.pid), isAlive(member)]).toEqual([true, true])
    expect(files()).toEqual([file(1, '.corrupt')])
    expect(warnings).toEqual([expect.stringContaining(`${file(1)} is corrupt; it was moved aside`)])
  })

  test('is nothing that belongs to a gateway which lives, or to another machine or container', async () => {
    const { write, sweep, files } = setUp()
    const child = await leader(OBEDIENT)
    const gateway = { pid: process.pid, start: startOf(process.pid) }
    write({ gateway, children: [entry(child.pid)] }, file(1))
    write({ space: 'another boot pid:[1]', children: [entry(child.pid)] }, file(2))
    write({ version: 2 as 1, children: [entry(child.pid)] }, file(3))
    await sweep()
    expect(isAlive(child.pid)).toBe(true)
    expect(files()).toEqual([file(1), file(2), file(3)])
  })

  test('is read with care: what is corrupt is moved aside, and what is no plain file is not read', async () => {
    const { folder, sweep, files, warnings } = setUp()
    const corrupt = ['{"version":1,"inst', '', 'null', '{"version":1,"instance":"../../x","children":{}}']
    for (const [number, text] of corrupt.entries()) writeFileSync(join(folder, file(number)), text)
    symlinkSync(join(freshFolder('target'), 'none'), join(folder, file(4)))
    mkdirSync(join(folder, file(5)))
    writeFileSync(join(folder, file(6)), 'x'.repeat(2 * 1024 * 1024))
    await sweep()
    expect(files()).toEqual([
      ...corrupt.map((_, number) => file(number, '.corrupt')),
      ...[4, 5, 6].map(number => file(number)),
    ])
    expect(warnings).toHaveLength(7)
  })

  test('does not pile up: what nobody can judge goes after a week', async () => {
    const { folder, write, sweep, files } = setUp()
    write({ space: 'another boot' }, file(1))
    for (const name of [file(2, '.corrupt'), file(3, '.part')]) writeFileSync(join(folder, name), '')
    for (const name of files()) utimesSync(join(folder, name), LONG_AGO, LONG_AGO)
    write({ space: 'another boot' }, file(4))
    await sweep()
    expect(files()).toEqual([file(4)])
  })

  test('is looked for among our own files alone, and never through a link', async () => {
    const { folder, sweep, files, warnings, space } = setUp()
    const foreign = ['notes.json', 'old.log', 'x.corrupt', '7-short.json', `x${file(1)}`]
    for (const name of foreign) writeFileSync(join(folder, name), 'not ours')
    for (const name of foreign) utimesSync(join(folder, name), LONG_AGO, LONG_AGO)
    await sweep()
    expect([files(), warnings]).toEqual([foreign.sort(), []])
    const link = join(freshFolder('link'), 'children')
    symlinkSync(folder, link)
    writeFileSync(join(folder, file(1)), 'corrupt')
    await sweepLeftovers({ folder: link, space, warn: message => warnings.push(message) })
    expect(files()).toContain(file(1))
    expect(warnings).toEqual([expect.stringContaining('is not a folder of its own')])
  })
})

/** Starts a program and waits until it runs. */
function run(host: Host, script: string) {
  return new Promise<{ pid: number; end(): Promise<void> }>((resolve, reject) => {
    let ended = () => {}
    const exit = new Promise<void>(tell => {
      ended = tell
    })
    const child = host.spawner.spawn(
      { command: '/bin/sh', args: ['-c', script], env: markedEnvironment() },
      {
        spawned: () => undefined,
        failed: reject,
        stdout: () =>
          resolve({
            pid: child.pid as number,
            end: () => {
              child.killGroup('SIGKILL')
              return exit
            },
          }),
        stdoutEnd: () => undefined,
        stderr: () => undefined,
        stdinBroken: () => undefined,
        drain: () => undefined,
        exit: () => ended(),
      },
    )
  })
}

const listed = (folder: string): LedgerFile[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter(name => name.endsWith('.json'))
        .map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')))
    : []

function linkElsewhere(state: string): void {
  mkdirSync(state)
  symlinkSync(freshFolder('elsewhere'), join(state, 'children'))
}

describe('the list of child processes', () => {
  test('names each group by pid, start and program, for its owner alone, and is gone when they are', async () => {
    const state = join(freshFolder('state'), 'deep', 'state')
    const folder = join(state, 'children')
    const host = nodeHost({ stateFolder: state })
    expect(existsSync(state)).toBe(false)
    const one = await run(host, OBEDIENT)
    const two = await run(host, OBEDIENT)
    await expect.poll(() => listed(folder)[0]?.children.length).toBe(2)
    const [list] = listed(folder)
    expect(list).toMatchObject({
      version: 1,
      gateway: { pid: process.pid, start: startOf(process.pid) },
      children: [one, two].map(({ pid }) => ({ pid, start: startOf(pid), command: '/bin/sh' })),
    })
    const environment = readFileSync(`/proc/${one.pid}/environ`, 'utf8').split('\0')
    expect(environment).toContain(`${INSTANCE_VARIABLE}=${list?.instance}`)
    const [name = ''] = readdirSync(folder)
    expect([statSync(folder).mode & 0o777, statSync(join(folder, name)).mode & 0o777]).toEqual([0o700, 0o600])
    expect(JSON.stringify(list)).not.toContain('while')
    await one.end()
    await expect.poll(() => listed(folder)[0]?.children.map(({ pid }) => pid)).toEqual([two.pid])
    await two.end()
    await host.settle?.()
    expect(readdirSync(folder)).toEqual([])
  })

  test('keeps a group until its last member is gone', async () => {
    const state = freshFolder('state')
    const host = nodeHost({ stateFolder: state })
    const launcher = await run(host, 'sleep 60 & echo up; sleep 0.2; exit 0')
    await waitForExit(launcher.pid)
    const [left = 0] = livingMembers(launcher.pid)
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(listed(join(state, 'children'))[0]?.children).toHaveLength(1)
    expect(host.spawner.living).toBe(1)
    process.kill(left, 'SIGKILL')
    await host.settle?.()
    expect([listed(join(state, 'children')), host.spawner.living]).toEqual([[], 0])
  })

  test.each([
    ['is a file', (path: string) => writeFileSync(path, '')],
    ['has a link in its place', linkElsewhere],
  ])('costs one warning, and no server, where the state folder %s', async (_, spoil) => {
    const state = join(freshFolder('state'), 'state')
    spoil(state)
    const warnings: string[] = []
    const host = nodeHost({ stateFolder: state, warn: message => warnings.push(message) })
    await host.endLeftovers?.()
    const found = warnings.length
    for (let turn = 0; turn < 3; turn++) {
      const child = await run(host, OBEDIENT)
      await child.end()
    }
    await host.settle?.()
    expect(warnings.slice(found)).toEqual([
      expect.stringContaining('The list of child processes cannot be kept'),
    ])
  })

  test('takes back what others were allowed to see', async () => {
    const state = freshFolder('state')
    const folder = join(state, 'children')
    mkdirSync(folder)
    chmodSync(folder, 0o755)
    const host = nodeHost({ stateFolder: state })
    const child = await run(host, OBEDIENT)
    await expect.poll(() => listed(folder).length).toBe(1)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    await child.end()
    await host.settle?.()
  })

  test('lies in HOLDFAST_STATE_DIR, else in the state folder of the user', () => {
    expect(stateFolder({ HOLDFAST_STATE_DIR: '/s', XDG_STATE_HOME: '/x' })).toBe('/s')
    expect(stateFolder({ HOLDFAST_STATE_DIR: '', XDG_STATE_HOME: '/x' })).toBe('/x/holdfast')
    expect(stateFolder({ XDG_STATE_HOME: 'not/absolute' })).toMatch(/\/\.local\/state\/holdfast$/)
  })
})
