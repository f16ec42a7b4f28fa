import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from './build.js'
import { withFakes } from './fake-mcp.js'
import { blackHole, closedPort, relay } from './ports.js'
import {
  assertNoneLeft,
  childrenOf,
  descendantsOf,
  descriptorsOf,
  findByEnvironment,
  findProcesses,
  freeze,
  isAlive,
  killHard,
  residentBytes,
  thaw,
  waitForExit,
} from './processes.js'
import { MCP_HEADERS, rawPost, rawStream } from './raw-http.js'
import { freshFolder } from './run-folder.js'

describe('processes', () => {
  test('are found by a mark in their command line or environment until they are gone', async () => {
    const mark = freshFolder('mark')
    const byArgument = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', mark])
    const byVariable = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      env: { ...process.env, SOME_MARK: mark },
    })
    const pids = [byArgument.pid ?? 0, byVariable.pid ?? 0]
    await Promise.all(
      [byArgument, byVariable].map(child => new Promise(resolve => child.once('spawn', resolve))),
    )
    expect(
      findProcesses(mark)
        .map(({ pid }) => pid)
        .sort(),
    ).toEqual(pids.sort())
    await expect(assertNoneLeft(mark, 50)).rejects.toThrow('Processes are left')
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await Promise.all(pids.map(pid => waitForExit(pid)))
    await assertNoneLeft(mark)
    expect(pids.map(isAlive)).toEqual([false, false])
  })

  test('are found by one variable, and not by a value that merely begins like it', async () => {
    const mark = freshFolder('variable')
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      env: { ...process.env, OTHER: `${mark}-and-more`, SOME_MARK: mark },
    })
    await once(child, 'spawn')
    expect(findByEnvironment('SOME_MARK', mark)).toEqual([child.pid])
    expect(findByEnvironment('OTHER', mark)).toEqual([])
    await killHard(child.pid ?? 0)
    expect(findByEnvironment('SOME_MARK', mark)).toEqual([])
  })

  test('are known with children, grandchildren, descriptors and memory', async () => {
    const grandchild = "require('child_process').spawn('sleep', ['60'])"
    const child = spawn(process.execPath, ['-e', `${grandchild};console.log(1);setInterval(() => {}, 1000)`])
    await once(child.stdout, 'data')
    const pid = child.pid ?? 0
    expect(childrenOf(process.pid)).toContain(pid)
    const [sleeper = 0] = childrenOf(pid)
    expect(isAlive(sleeper)).toBe(true)
    expect(descendantsOf(process.pid)).toEqual(expect.arrayContaining([pid, sleeper]))
    expect(childrenOf(process.pid)).not.toContain(sleeper)
    expect(descriptorsOf(pid).filter(target => target.startsWith('socket:')).length).toBeGreaterThan(2)
    expect(residentBytes(pid)).toBeGreaterThan(10_000_000)
    await killHard(sleeper)
    await killHard(pid)
    expect(childrenOf(pid)).toEqual([])
    expect(() => residentBytes(pid)).toThrow('is gone')
  })

  test('can be stopped and go on', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)'])
    let heard = ''
    child.stdout.on('data', text => {
      heard += text
    })
    await once(child, 'spawn')
    child.stdin.write('a')
    await once(child.stdout, 'data')
    await freeze(child.pid ?? 0)
    child.stdin.write('b')
    await new Promise(resolve => setTimeout(resolve, 50))
    expect([heard, isAlive(child.pid ?? 0)]).toEqual(['a', true])
    await thaw(child.pid ?? 0)
    await once(child.stdout, 'data')
    expect(heard).toBe('ab')
    await killHard(child.pid ?? 0)
  })
})

describe('ports', () => {
  test('a closed port refuses', async () => {
    await expect(rawPost(`http://127.0.0.1:${await closedPort()}/mcp`, '{}')).rejects.toThrow('ECONNREFUSED')
  })

  test('a black hole accepts and says nothing', async () => {
    const hole = await blackHole()
    await expect(
      rawStream(hole.url, { method: 'POST', body: '{}', headers: MCP_HEADERS, timeoutMs: 100 }),
    ).rejects.toThrow('No bytes')
    expect(hole.connections).toBe(1)
    await hole.close()
  })

  test('a relay can hold back, go on, and break', async () => {
    await withFakes([{ script: {} }], async fake => {
      const between = await relay(Number(new URL(fake?.url ?? '').port))
      const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
      expect((await rawPost(between.url, ping)).status).toBe(400)
      between.pause()
      let answered = false
      const held = rawPost(between.url, ping).then(() => {
        answered = true
      })
      await new Promise(resolve => setTimeout(resolve, 100))
      expect(answered).toBe(false)
      between.resume()
      await held
      between.pause()
      const broken = expect(rawPost(between.url, ping)).rejects.toThrow()
      await new Promise(resolve => setTimeout(resolve, 50))
      between.drop()
      await broken
      await between.close()
    })
  })
})

describe('the summary', () => {
  const report = (passed: number, failed: number, rest = {}): unknown => ({
    numPassedTests: passed,
    numFailedTests: failed,
    numTotalTests: passed + failed,
    success: failed === 0,
    testResults: [],
    ...rest,
  })

  function summarise(...reports: readonly unknown[]): { lastLine: string | undefined; code: number | null } {
    const folder = freshFolder('reports')
    const files = reports.map((one, index) => {
      const file = join(folder, `${index}.json`)
      writeFileSync(file, JSON.stringify(one))
      return file
    })
    const { stdout, status } = spawnSync(process.execPath, [join(ROOT, 'test/kit/summary.mjs'), ...files], {
      encoding: 'utf8',
    })
    return { lastLine: stdout.trimEnd().split('\n').at(-1), code: status }
  }

  test('adds up and is content when nothing failed', () => {
    expect(summarise(report(3, 0), report(4, 0))).toEqual({ lastLine: '7 passed, 0 failed', code: 0 })
  })

  test('fails for a failed test, for a file that does not load, and when nothing ran', () => {
    expect(summarise(report(3, 1), report(4, 0))).toEqual({ lastLine: '7 passed, 1 failed', code: 1 })
    const broken = { success: false, testResults: [{ name: 'x', status: 'failed', assertionResults: [] }] }
    expect(summarise(report(3, 0, broken))).toEqual({ lastLine: '3 passed, 1 failed', code: 1 })
    expect(summarise(report(3, 0), report(0, 0))).toEqual({ lastLine: '3 passed, 0 failed', code: 1 })
    expect(summarise()).toEqual({ lastLine: '0 passed, 0 failed', code: 1 })
  })
})
